"""Rounds of growing trees, training on them and evaluating, each with the model of the round before.

    treecot evolve                         # at most three rounds with the hasty model, in runs/evolve
    treecot evolve --max_pass_rate 0.75    # without the problems that the model all but always solves already

Round N grows trees on new problems with the model of round N - 1, trains that model on their longest right chains,
then with the joint objective on their pairs, and evaluates it on the same held-out problems every time. It ends when
accuracy on them no longer rises beyond its interval. Run it again after any interruption: what is done is kept.
"""

import asyncio
import json
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from ..base import Problem
from ..building.run_directory import check_directory, claim_directory, locked
from ..errors import EngineError, InvalidInputError
from ..evaluation.comparison import ladder, plot_progress
from ..evaluation.statistics import Estimate, compare
from ..files import write_atomically
from ..problems.generators import KINDS
from ..starter.built_in import HASTY
from .build import build
from .evolve_problems import PassRates, choose_problems, new_problems
from .parser import parse, run
from .stages import check_counts, identity, load_engine, outcomes, rows_of, train, tree_settings


HELD_OUT_SEED = 99  # smaller than that of any round
OBJECTIVES = ("joint", "sft")
MIN_PASS_RATE, MAX_PASS_RATE = 0.0, 0.75  # of the bound that is not given, if one of them is
ROWS = {"sft": "right chain", "preference": "pair of a right and a wrong chain"}  # what a row of each kind is
FIGURES = ("accuracy", "no_answer_rate", "tokens")


@dataclass
class EvolveArguments:
    """How many rounds, how large they are, and what is trained."""

    model: str = field(default=HASTY, metadata={"help": "Hub name or directory; starter, hasty: built-in ones."})
    rounds: int = field(default=3, metadata={"help": "At most so many."})
    objective: str = field(
        default="joint",
        metadata={"help": "sft: on the longest right chains; joint: after that, the joint objective on the pairs."},
    )
    problems: list[str] = field(
        default_factory=lambda: ["letters", "arithmetic", "blocks"],
        metadata={"help": f"Generators of problems: {', '.join(KINDS)}."},
    )
    num_problems: int = field(default=40, metadata={"help": "Problems of each kind whose trees a round grows."})
    num_simulations: int = field(default=16, metadata={"help": "Simulations of a tree with enough right answers."})
    num_evaluated: int = field(default=100, metadata={"help": "Held-out problems of each kind."})
    max_new_tokens: int = field(default=512, metadata={"help": "Tokens of an answer, not of a tree's thought."})
    min_pass_rate: float | None = field(
        default=None,
        metadata={
            "help": "Leave out problems that the round's model solves less often. Default: none is left out; "
            f"{MIN_PASS_RATE} if max_pass_rate is given."
        },
    )
    max_pass_rate: float | None = field(
        default=None,
        metadata={"help": f"Or more often. Default: none is left out; {MAX_PASS_RATE} if min_pass_rate is given."},
    )
    k: int = field(default=4, metadata={"help": "Samples of a problem of which its pass rate is counted."})
    seed: int = field(default=0, metadata={"help": "Seed of problems, trees and training; other in every round."})
    output_dir: str = field(default="runs/evolve", metadata={"help": "Where everything goes."})

    def pass_rates(self) -> PassRates | None:
        """Which problems are taken; None if all are."""
        if self.min_pass_rate is None and self.max_pass_rate is None:
            return None
        low = MIN_PASS_RATE if self.min_pass_rate is None else self.min_pass_rate
        high = MAX_PASS_RATE if self.max_pass_rate is None else self.max_pass_rate
        return PassRates(low, high, self.k, self.max_new_tokens)


@dataclass(frozen=True)
class Round:
    """
    One round, or the model before the first one.

    Args:
        number (`int`): 0 is before training.
        model (`str`): Where the model is that was evaluated.
        outcomes (`list[dict]`): What it answered, as of [`~stages.outcomes`].
        trees (`dict[str, int]`): What it was trained on: problems, those left out, trees, rows.
    """

    number: int
    model: str
    outcomes: list[dict[str, Any]]
    trees: dict[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"round {self.number}" if self.number else "before training"

    def rows(self) -> list[dict[str, Any]]:
        """Rows of figures: for every kind of problems, and for all of them."""
        together = {name: self.all_of(name) for name in FIGURES}
        total = [{"task": "all", "decoding": "greedy", **together}] if len(self.outcomes) > 1 else []
        return rows_of(self.label, [[*self.outcomes, *total]])

    def all_of(self, figure: str) -> list[float | None]:
        """A figure for every held-out problem of every kind."""
        return [value for outcome in self.outcomes for value in outcome[figure]]


def check(arguments: EvolveArguments) -> None:
    """
    Raises:
        InvalidInputError: An argument is out of range or unknown.
    """
    check_counts(arguments, ("rounds", "num_problems", "num_simulations", "num_evaluated", "max_new_tokens", "k"))
    if arguments.seed < 0:
        raise InvalidInputError(f"seed={arguments.seed} is out of range: it must be 0 or more")
    if arguments.objective not in OBJECTIVES:
        raise InvalidInputError(f"objective={arguments.objective!r} is unknown: use one of {', '.join(OBJECTIVES)}")
    if not arguments.problems:
        raise InvalidInputError("problems is empty: name at least one generator")
    for name in arguments.problems:
        if name not in KINDS:
            raise InvalidInputError(
                f"problems={name!r} is no generator, which every round needs new problems from: use some of "
                f"{', '.join(KINDS)}"
            )
        if arguments.problems.count(name) > 1:
            raise InvalidInputError(f"problems={name!r} is given twice: name it once, and raise num_problems")
    if between := arguments.pass_rates():
        for name, value in (("min_pass_rate", between.low), ("max_pass_rate", between.high)):
            if not 0 <= value <= 1:
                raise InvalidInputError(f"{name}={value} is out of range: it must be from 0 to 1")
        if between.low > between.high:
            raise InvalidInputError(
                f"min_pass_rate={between.low} leaves nothing: it must be at most max_pass_rate={between.high}"
            )


def round_seed(arguments: EvolveArguments, number: int) -> int:
    """The seed of all that a round does."""
    return 1000 * (arguments.seed + 1) + number


def round_directory(arguments: EvolveArguments, number: int) -> Path:
    """Where a round is."""
    return Path(arguments.output_dir) / f"round-{number}"


def grow(arguments: EvolveArguments, number: int, model: str, problems: list[Problem]) -> dict[str, int]:
    """
    Grow the trees of a round, unless they are there; how many there are, and rows of each kind.

    Raises:
        InvalidInputError: There is nothing among them to train on.
        EngineError: Some could not be grown.
    """
    directory = round_directory(arguments, number) / "trees"
    path = directory / "report.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"failures": True}
    if report["failures"]:
        settings = tree_settings(
            directory, model=model, num_simulations=arguments.num_simulations, seed=round_seed(arguments, number)
        )
        report = asdict(asyncio.run(build(settings, problems)))
    if failures := report["failures"]:
        name, reason = next(iter(failures.items()))
        raise EngineError(f"round {number}: {len(failures)} of {len(problems)} trees failed; {name}: {reason}")
    needed = list(ROWS) if arguments.objective == "joint" else ["sft"]
    for name in needed:
        if not report["rows"][name]:
            raise InvalidInputError(
                f"round {number}: {report['trees']} trees with {report['statistics'].get('right', 0)} right and "
                f"{report['statistics'].get('wrong', 0)} wrong chains give no {ROWS[name]} to train on: raise "
                f"num_problems={arguments.num_problems} or num_simulations={arguments.num_simulations}, in another "
                "output_dir"
            )
    return {"trees": report["trees"], **{name: report["rows"][name] for name in needed}}


def train_round(arguments: EvolveArguments, number: int, model: str) -> str:
    """Train the model of the round before on the trees of this one, unless it is trained; where the result is."""
    directory, seed = round_directory(arguments, number), round_seed(arguments, number)
    trained = train("sft", model, directory / "trees", directory / "sft", seed=seed)
    if arguments.objective == "joint":
        trained = train("joint", str(trained), directory / "trees", directory / "joint", seed=seed)
    return str(trained)


def run_round(
    arguments: EvolveArguments, number: int, model: str, held_out: dict[str, list[Problem]], seen: set[str]
) -> Round:
    """
    Run what is missing of a round.

    Args:
        arguments ([`EvolveArguments`]): Of the run.
        number (`int`): Of the round; in round 0 nothing is trained.
        model (`str`): That of the round before.
        held_out (`dict[str, list[Problem]]`): What is evaluated on.
        seen (`set[str]`): As of [`choose_problems`].
    """
    trees: dict[str, int] = {}
    if number:
        problems, left_out = choose_problems(
            round_directory(arguments, number) / "problems.json", arguments.problems, arguments.num_problems,
            round_seed(arguments, number), seen, model, arguments.pass_rates(),
        )  # fmt: skip
        if left_out:
            print(f"round {number}: left out {', '.join(f'{count} {why}' for why, count in left_out.items())}")
        rows = grow(arguments, number, model, problems)
        trees = {"problems": len(problems), "left_out": sum(left_out.values()), **rows}
        model = train_round(arguments, number, model)
    path = round_directory(arguments, number) / "figures.json"
    if not path.is_file():
        found = outcomes(model, held_out, max_new_tokens=arguments.max_new_tokens)
        write_atomically(path, json.dumps({"round": number, "trees": trees, "outcomes": found}) + "\n")
        print(f"round {number} is done")
    found = json.loads(path.read_text(encoding="utf-8"))
    return Round(number, model, found["outcomes"], found["trees"])


def rise(before: Round, after: Round) -> Estimate:
    """How much more accurate a round's model is than that of the round before, on the same problems."""
    return compare(before.all_of("accuracy"), after.all_of("accuracy")).difference


def has_risen(change: Estimate) -> bool:
    """Whether a rise lies beyond its interval."""
    return change.low > 0


def describe(rounds: list[Round], most: int) -> str:
    """The table, what every round was trained on and gained, and why it ended."""
    lines = [ladder([row for found in rounds for row in found.rows()])]
    changes = [rise(*both) for both in pairwise(rounds)]
    for found, change in zip(rounds[1:], changes, strict=True):
        rows = ", ".join(f"{found.trees[name]} {name} rows" for name in ROWS if name in found.trees)
        left_out = f" ({found.trees['left_out']} others left out)" if found.trees["left_out"] else ""
        gain = f"{100 * change.value:+.1f} points ({100 * change.low:+.1f} to {100 * change.high:+.1f})"
        lines.append(f"- {found.label}: {found.trees['problems']} problems{left_out}, {rows}; accuracy {gain}")
    if not has_risen(changes[-1]):
        keep = f"of {rounds[-2].label}" if len(rounds) > 2 else "that it began with"
        lines.append(
            f"\nStopped after {rounds[-1].label}: accuracy no longer rises beyond its interval. Keep the model {keep}."
        )
    elif len(rounds) > most:
        lines.append(f"\nStopped after rounds={most}; accuracy still rose in the last one.")
    return "\n".join(lines) + "\n"


def run_rounds(arguments: EvolveArguments) -> list[Round]:
    """All rounds until accuracy no longer rises, that before training first; each renews table and plot."""
    directory, seen = Path(arguments.output_dir), set()
    held_out = {
        kind: list(islice(new_problems(kind, HELD_OUT_SEED, seen), arguments.num_evaluated))
        for kind in arguments.problems
    }
    rounds = [run_round(arguments, 0, arguments.model, held_out, seen)]
    for number in range(1, arguments.rounds + 1):
        rounds.append(run_round(arguments, number, rounds[-1].model, held_out, seen))
        write_atomically(directory / "table.md", describe(rounds, arguments.rounds))
        plot_progress([row for found in rounds for row in found.rows()], directory / "evolve.png")
        if not has_risen(rise(*rounds[-2:])):
            break
    return rounds


def evolve(arguments: EvolveArguments) -> str:
    """Run what is missing; the table."""
    check(arguments)
    directory = Path(arguments.output_dir)
    check_directory(directory)
    if not (directory / "run.json").is_file():
        load_engine(arguments.model).close()  # a name that is none claims no directory
    fixed = {name: value for name, value in asdict(arguments).items() if name not in ("rounds", "output_dir")}
    claim_directory(directory, {"settings": fixed, "model": identity(arguments.model)})
    with locked(directory):
        rounds = run_rounds(arguments)
    return describe(rounds, arguments.rounds)


def main(args: list[str] | None = None) -> None:
    """Run, print the table, say where everything is."""
    arguments = parse("evolve", EvolveArguments, __doc__, args)
    print(run(lambda: evolve(arguments), resume="Run the same command again to go on."))
    print(f"The table, the plot and the models of all rounds are in {arguments.output_dir}")
