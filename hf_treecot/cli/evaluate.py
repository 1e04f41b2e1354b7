"""How often models are right, how often they give no answer at all and why, and what sampling and search add.

    treecot evaluate --models starter runs/demo/sft runs/demo/joint_sft_dpo
    treecot evaluate --models Qwen/Qwen2.5-1.5B-Instruct --tasks gsm8k ifeval --num_problems 200
    treecot evaluate --models starter --decoding greedy sample mcts --k 8
    treecot evaluate --models openai+http://127.0.0.1:8000 --tasks gsm8k

Run the same command again after any interruption: it goes on where it was. Results and details are in lighteval's
layout; the table and the plot are made from them.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import InvalidInputError
from .budgets import check_parts, report_budgets
from .engines import TOKEN_VARIABLES, EngineArguments, open_engines, server_arguments
from .parser import parse, run
from .value import load_value_model


@dataclass
class EvaluateArguments:
    """Which models and tasks, and how they are decoded."""

    models: list[str] = field(
        default_factory=lambda: ["starter"],
        metadata={
            "help": "Hub names, directories (also of adapters), servers (openai+URL, tgi+URL; with #TOKENIZER at the "
            "end if it is not that of the model that the server reports); starter and hasty: built-in ones. The "
            "others are compared with the first."
        },
    )
    tasks: list[str] = field(
        default_factory=list,
        metadata={
            "help": "gsm8k, math_500, aime24, aime25, blocksworld, ifeval, multi_if (or multi_if_english and so on), "
            "letters, arithmetic. Default: the last two, unless problems are given."
        },
    )
    problems: list[str] = field(
        default_factory=list,
        metadata={"help": "Problems of your own besides, or instead: files, directories, Hub datasets, generators."},
    )
    split: str = field(default="test", metadata={"help": "Split of your own problems."})
    config_name: str | None = field(default=None, metadata={"help": "Configuration of your own Hub datasets."})
    problem_seed: int = field(default=99, metadata={"help": "Seed of generated problems; not that of training data."})
    num_problems: int | None = field(default=None, metadata={"help": "At most so many of each task."})
    decoding: list[str] = field(default_factory=lambda: ["greedy"], metadata={"help": "greedy, sample, mcts."})
    k: int = field(default=8, metadata={"help": "Samples of a problem, 1 to 32."})
    temperature: float = field(default=0.7, metadata={"help": "Of sampling and search."})
    top_p: float = field(default=0.95, metadata={"help": "Nucleus of sampling and search."})
    max_new_tokens: int | None = field(default=None, metadata={"help": "Tokens of an output. Default: the task's."})
    token_budget: int | None = field(
        default=None,
        metadata={"help": "Generated tokens of a search for a problem. Default: what k samples of it take."},
    )
    pattern: str = field(
        default="reflection",
        metadata={
            "help": "Transition pattern of a search; free: the model chooses its thoughts; best_of_N: N replies."
        },
    )
    child_selection: str = field(default="uct", metadata={"help": "How a search goes down: uct, puct, thompson."})
    branching: str = field(
        default="pattern",
        metadata={
            "help": "Where a search asks for more thoughts than its pattern says: pattern (nowhere), root, entropy, "
            "disagreement, thompson."
        },
    )
    stopping: str = field(
        default="rewards",
        metadata={
            "help": "majority_decided, probability_decided: a search stops as soon as the majority, or the most "
            "probable answer, will hardly change; rewards: it does not."
        },
    )
    greedy: str = field(
        default="never",
        metadata={"help": "What a search writes greedily: never anything, its first_chain, continuations besides."},
    )
    search_reward: str = field(
        default="majority",
        metadata={
            "help": "majority, confidence, value (of the value_model), or a function of prompt and chain as "
            "package.module:function."
        },
    )
    answer_vote: str | None = field(
        default=None,
        metadata={
            "help": "Which answer is given, by what its chain weighs: majority, log_probability, value (of the "
            "value_model, or else of a search's tree), reward_model (what search_reward gives). Default: "
            "log_probability where the engine gives the model's own, else majority; reward_model, if search_reward "
            "is given."
        },
    )
    value_model: str | None = field(
        default=None,
        metadata={
            "help": "Hub name or directory of a model that treecot value trained, for answer_vote or search_reward "
            "value."
        },
    )
    budgets: list[int] = field(
        default_factory=list,
        metadata={
            "help": "Tokens of thinking, increasing: greedy and sampled outputs are also looked at with their "
            "thinking cut there and an answer forced."
        },
    )
    easy_and_hard: bool = field(
        default=False,
        metadata={
            "help": "Evaluate the easy and the hard part of letters, arithmetic or blocks, given as problems, apart: "
            "what is thought too much, and too little. Needs budgets."
        },
    )
    prompt: str = field(
        default="benchmark", metadata={"help": "benchmark, or training: the problem alone, as in the training data."}
    )
    data: str | None = field(
        default=None, metadata={"help": "Directory with a directory of rows for every task, instead of the Hub."}
    )
    revision: str | None = field(default=None, metadata={"help": "Revision of the models."})
    dtype: str | None = field(default=None, metadata={"help": "float32, bfloat16, float64 (exact in any batch)."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code that comes with a model."})
    max_batch_size: int = field(default=64, metadata={"help": "Requests that a model works on at the same time."})
    seed: int = field(default=0, metadata={"help": "Seed of the samples and searches."})
    output_dir: str = field(default="runs/evaluation", metadata={"help": "Where results, details and journal go."})
    output: str | None = field(default=None, metadata={"help": "A JSON file for the rows of the table."})
    plot: str | None = field(default=None, metadata={"help": "A .png, .svg or .pdf file for the plot."})
    results_org: str | None = field(
        default=None, metadata={"help": "Push results and details to this user or organization of the Hub."}
    )
    public: bool = field(default=False, metadata={"help": "Push them for everybody to see."})


def short_names(models: list[str]) -> dict[str, str]:
    """What models are called in results: Hub names as they are, directories by as few parts as tell them apart."""
    names = {}
    for model in dict.fromkeys(models):
        if server := server_arguments(model):
            address = server.servers[0].rpartition("//")[2]
            names[model] = f"{server.engine}-{address.replace('/', '-').replace(':', '-')}"
        elif not Path(model).is_dir():
            names[model] = model
        else:
            parts = Path(model).absolute().parts[1:]
            others = [Path(other).absolute().parts[1:] for other in models if other != model and Path(other).is_dir()]
            count = next((n for n in range(1, len(parts)) if all(o[-n:] != parts[-n:] for o in others)), len(parts))
            names[model] = "-".join(parts[-count:])
    if len(set(names.values())) < len(names):
        raise InvalidInputError(f"models={', '.join(names)}: results could not tell them apart; leave one out")
    return names


@asynccontextmanager
async def open_journaled(model: str, arguments: EvaluateArguments) -> AsyncIterator:
    """The engine of a model with the memory of all earlier runs, closed at the end of the block."""
    from ..engines.journal import Journal, JournaledEngine

    async with open_engine(model, arguments) as engine:
        journal = Journal(Path(arguments.output_dir) / "journal.sqlite")
        try:
            yield JournaledEngine(engine, journal)
        finally:
            journal.close()


@asynccontextmanager
async def open_engine(model: str, arguments: EvaluateArguments) -> AsyncIterator:
    """The engine of a model, closed at the end of the block."""
    options = replace(
        server_arguments(model) or EngineArguments(model=model, revision=arguments.revision),
        dtype=arguments.dtype,
        trust_remote_code=arguments.trust_remote_code,
        max_batch_size=arguments.max_batch_size,
    )
    greedy = set(arguments.decoding) <= {"greedy"}
    sampling = (0.0, 1.0) if greedy else (arguments.temperature, arguments.top_p)
    async with open_engines(options, *sampling) as engines:
        yield engines["generator"]


def check_servers(arguments: EvaluateArguments) -> None:
    """See that no option is lost on servers, and that a token goes to one host alone."""
    servers = [server for model in arguments.models if (server := server_arguments(model))]
    if servers and arguments.revision is not None:
        raise InvalidInputError(
            f"revision={arguments.revision!r} cannot be asked of servers: evaluate them without it, by themselves"
        )
    hosts = {urlsplit(server.servers[0]).netloc for server in servers}
    if len(hosts) > 1 and TOKEN_VARIABLES["generator"] in os.environ:
        raise InvalidInputError(
            f"models are on several hosts ({', '.join(sorted(hosts))}), and {TOKEN_VARIABLES['generator']} would be "
            "sent to all of them: evaluate them one after the other"
        )


def evaluate(arguments: EvaluateArguments) -> list[dict]:
    """Rows of figures for every model, decoding and task. Everything that can be checked is checked first."""
    from ..evaluation import lighteval_compat as compat

    compat.prepare()
    from ..evaluation.comparison import rows_of
    from ..evaluation.engine_model import EngineModel, EngineModelConfig
    from ..evaluation.run import check_tasks, choose_benchmarks
    from ..evaluation.run import evaluate as evaluate_model
    from ..evaluation.voting import check_value_model

    for name in ("models", "decoding"):
        if not getattr(arguments, name):
            raise InvalidInputError(f"{name} is empty: name at least one")
    if arguments.num_problems is not None and arguments.num_problems < 1:
        raise InvalidInputError(f"num_problems={arguments.num_problems} is out of range: it must be at least 1")
    make_directory(Path(arguments.output_dir))
    check_servers(arguments)
    check_parts(arguments.easy_and_hard, arguments.budgets, arguments.tasks, arguments.problems)
    benchmarks = own_benchmarks(arguments)
    names = arguments.tasks or ([] if benchmarks else ["letters", "arithmetic"])
    benchmarks = choose_benchmarks(names) + benchmarks
    runs = [
        (model, EngineModelConfig(model_name=f"{name}/{decoding}", **settings(arguments, decoding)))
        for model, name in short_names(arguments.models).items()
        for decoding in dict.fromkeys(arguments.decoding)
    ]
    for _, config in runs:
        EngineModel(open_engine, config)
    check_value_model(arguments.value_model, arguments.search_reward, arguments.answer_vote)
    if arguments.value_model is not None and set(arguments.decoding) == {"greedy"}:
        raise InvalidInputError("value_model would not be used: set decoding to sample or mcts")
    value_model = load_value_model(arguments.value_model, arguments.dtype, arguments.trust_remote_code)
    check_tasks(benchmarks, task_options(arguments, "greedy"), arguments.num_problems)
    check_tasks(benchmarks[:1], task_options(arguments, "sample"), 1)
    figures = []
    for model, config in runs:
        figures += evaluate_model(
            lambda model=model: open_journaled(model, arguments),
            config,
            benchmarks,
            task_options(arguments, config.decoding),
            Path(arguments.output_dir),
            value_model=value_model,
            limit=arguments.num_problems,
            results_org=arguments.results_org,
            public=arguments.public,
        )
    return rows_of(figures)


def make_directory(directory: Path) -> None:
    """Make the run's directory, or say why it cannot be made."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"output_dir={str(directory)!r} cannot be made ({error.strerror}): choose another directory"
        ) from error


def settings(arguments: EvaluateArguments, decoding: str) -> dict:
    """What a run's configuration takes from the arguments."""
    names = ("temperature", "top_p", "seed", "pattern", "search_reward", "answer_vote", "value_model")
    names += ("token_budget", "child_selection", "branching", "stopping", "greedy", "budgets")
    return {"decoding": decoding, "num_samples": arguments.k, **{name: getattr(arguments, name) for name in names}}


def task_options(arguments: EvaluateArguments, decoding: str):
    """How tasks are made for a way of decoding."""
    from ..evaluation.tasks import TaskOptions

    count = arguments.k if decoding == "sample" else 1
    budgets = () if decoding == "mcts" else tuple(arguments.budgets)
    return TaskOptions(arguments.data, arguments.prompt, count, arguments.max_new_tokens, budgets)


def own_benchmarks(arguments: EvaluateArguments) -> list:
    """The user's own problems as benchmarks; lighteval takes directories, so each gets one."""
    from ..evaluation.run import benchmark_of_problems
    from ..problems.generators import EASY, HARD
    from ..problems.loading import check_unique, load_problems

    benchmarks = []
    parts = [f"-{part}" for part in (EASY, HARD)] if arguments.easy_and_hard else [""]
    for source in (source + part for source in arguments.problems for part in parts):
        problems = load_problems(
            source,
            limit=arguments.num_problems,
            seed=arguments.problem_seed,
            split=arguments.split,
            config_name=arguments.config_name,
            allow_evaluation_only=True,
        )
        check_unique(problems)
        benchmarks.append(benchmark_of_problems(source, problems, Path(arguments.output_dir) / "problems"))
    return benchmarks


def report_calibration(rows: list[dict], directory: Path) -> None:
    """Say how far confidence can be trusted, in `calibration.md` and `calibration.png`, if answers were chosen."""
    from ..evaluation.calibration_report import calibrated, plot_calibration, write_calibration

    if calibrated(rows):
        (directory / "calibration.md").write_text(write_calibration(rows), encoding="utf-8")
        plot_calibration(rows, directory / "calibration.png")


def main(args: list[str] | None = None) -> None:
    """Evaluate, print the table, keep the figures."""
    from rich.console import Console

    arguments = parse("evaluate", EvaluateArguments, __doc__, args)
    rows = run(lambda: evaluate(arguments), "Run the same command again: it goes on where it was.")
    from ..evaluation.comparison import markdown, plot, table

    console = Console()
    console.print(table(rows, console.width))
    directory = Path(arguments.output_dir)
    (directory / "table.md").write_text(markdown(rows), encoding="utf-8")
    plot(rows, Path(arguments.plot or directory / "plot.png"))
    report_calibration(rows, directory)
    if arguments.budgets:
        report_budgets(rows, arguments.budgets, directory)
    output = Path(arguments.output or directory / "evaluation.json")
    output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
