"""How often models are right on held-out problems, and how often they give no answer at all.

python recipes/evaluate.py --models starter runs/demo/sft runs/demo/joint_sft_dpo
python recipes/evaluate.py --models Qwen/Qwen2.5-1.5B-Instruct --problems openai/gsm8k --config_name main --split test
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from hf_treecot import recipe
from hf_treecot.problems import Problem, load_problems


@dataclass
class Arguments:
    """Arguments of evaluate.py."""

    models: list[str] = field(
        default_factory=lambda: ["starter"], metadata={"help": "Hub names or directories; starter: the built-in one."}
    )
    problems: list[str] = field(
        default_factory=lambda: ["letters", "arithmetic"],
        metadata={"help": "Files, directories, Hub datasets, or built-in generators."},
    )
    num_problems: int = field(default=200, metadata={"help": "At most so many of each."})
    split: str = field(default="test", metadata={"help": "Split of Hub datasets."})
    config_name: str | None = field(default=None, metadata={"help": "Configuration of Hub datasets."})
    problem_seed: int = field(default=99, metadata={"help": "Seed of generated problems; not that of training data."})
    max_new_tokens: int = field(default=512, metadata={"help": "Tokens of an output."})
    temperature: float = field(default=0.0, metadata={"help": "0 is greedy."})
    seed: int = field(default=0, metadata={"help": "Seed of the samples."})
    output: str | None = field(default=None, metadata={"help": "A JSON file for the figures."})


def evaluate(arguments: Arguments) -> list[dict]:
    """One row of figures for every model and source of problems."""
    from hf_treecot.engines.local import LocalEngine
    from hf_treecot.evaluation.answers import answer_all, summarize
    from hf_treecot.starter.training import starter_model

    sources: dict[str, list[Problem]] = {
        source: load_problems(
            source,
            limit=arguments.num_problems,
            seed=arguments.problem_seed,
            split=arguments.split,
            config_name=arguments.config_name,
            allow_evaluation_only=True,
        )
        for source in arguments.problems
    }
    rows = []
    for model in arguments.models:
        engine = LocalEngine.from_pretrained(str(starter_model()) if model == "starter" else model)
        for source, problems in sources.items():
            answers = answer_all(
                problems,
                engine,
                max_new_tokens=arguments.max_new_tokens,
                temperature=arguments.temperature,
                seed=arguments.seed,
            )
            rows.append({"model": model, "problems": source, "count": len(answers), **summarize(answers)})
        engine.close()
    return rows


def main() -> None:
    """Evaluate, print the table, keep the figures."""
    from rich.console import Console
    from rich.table import Table

    arguments = recipe.parse(Arguments, __doc__)
    rows = recipe.run(lambda: evaluate(arguments))
    table = Table("model", "problems", "accuracy", "no answer", "repetition", "tokens", title="Held-out problems")
    for row in rows:
        table.add_row(
            row["model"], f"{row['problems']} ({row['count']})", f"{row['accuracy']:.1%}",
            f"{row['no_answer_rate']:.1%}", f"{row['repetition']:.1%}", f"{row['length']:.0f}",
        )  # fmt: skip
    Console().print(table)
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
