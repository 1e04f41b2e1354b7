"""What a build will take, from a sample of its problems; and afterwards, how far off that was.

A tree depends on nothing but its problem and the seed, so the sample's trees are those that the build will grow: the
only error is that of sampling.
"""

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..engines.engine import Completion, Engine, Request
from ..errors import InvalidInputError
from ..mcts.tree import Tree
from .builder import BuildReport


ERROR_90 = 1.645  # standard errors on either side of a mean that hold 90 %
COUNTS = ("requests", "prompt_tokens", "generated_tokens")


@dataclass(frozen=True)
class Estimate:
    """
    What a build will take.

    Args:
        problems (`int`): Problems of the build.
        sample (`int`): Problems that the estimate is from.
        requests, prompt_tokens, generated_tokens (`float`): Sums over the build.
        margins (`dict[str, float]`): How far off each of them may be, either way, in 9 of 10 cases.
        seconds (`float`): Time, with the sample's engines and as many trees in flight.
        cost (`float`, *optional*): What that time costs, and what the tokens do.
        sample_cost (`float`): What the tokens of the sample have cost.
    """

    problems: int
    sample: int
    requests: float
    prompt_tokens: float
    generated_tokens: float
    margins: dict[str, float]
    seconds: float
    cost: float | None = None
    sample_cost: float = 0.0


class MeteredEngine:
    """An engine that notes when it wrote how many tokens."""

    def __init__(self, engine: Engine):
        self.engine, self.identity, self.render_chat = engine, engine.identity, engine.render_chat
        self.written: list[tuple[float, int]] = []
        self.cost = 0.0

    async def generate(self, request: Request) -> Completion:
        """Write one thought; see [`Engine.generate`]."""
        completion = await self.engine.generate(request)
        self.written.append((time.monotonic(), completion.tokens))
        self.cost += completion.cost
        return completion


def estimate(
    trees: Sequence[Tree],
    written: Sequence[tuple[float, int]],
    started: float,
    finished: float,
    num_problems: int,
    price_per_hour: float | None = None,
    sample_cost: float = 0.0,
) -> Estimate:
    """
    Estimate a build from the trees of a sample.

    Args:
        trees (`Sequence[Tree]`): The sample's trees.
        written (`Sequence[tuple[float, int]]`): When how many tokens were written, of all engines.
        started, finished (`float`): When the sample was, by the same clock.
        num_problems (`int`): Problems of the build.
        price_per_hour (`float`, *optional*): What all engines together cost in an hour.
        sample_cost (`float`): What the tokens of the sample have cost.

    Raises:
        InvalidInputError: The sample has no trees.
    """
    if not trees or not written:
        raise InvalidInputError("no tree of the sample could be grown: see why with a small build first")
    totals, margins = {}, {}
    for name in COUNTS:
        values = [getattr(tree, name) for tree in trees]
        totals[name] = statistics.mean(values) * num_problems
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        unseen = max(0.0, 1 - len(values) / num_problems)  # those in the sample are known
        margins[name] = ERROR_90 * spread * num_problems * math.sqrt(unseen / len(values))
    tokens, rate = sum(count for _, count in written), _full_rate(written, started)
    # At the end of a build fewer trees grow at the same time than at its beginning: that part happens once.
    tail = max(0.0, finished - started - tokens / rate)
    seconds = totals["generated_tokens"] / rate + tail
    cost = (price_per_hour or 0.0) * seconds / 3600 + sample_cost * num_problems / len(trees)
    cost = cost if price_per_hour or sample_cost else None
    return Estimate(
        num_problems, len(trees), **totals, margins=margins, seconds=seconds, cost=cost, sample_cost=sample_cost
    )


def _full_rate(written: Sequence[tuple[float, int]], started: float) -> float:
    """Tokens per second while all trees were growing: over the first half of the tokens."""
    half, so_far = sum(count for _, count in written) / 2, 0
    for moment, count in sorted(written):
        so_far += count
        if so_far >= half:
            return max(so_far, 1) / max(moment - started, 1e-9)
    raise AssertionError("half of a sum is never beyond it")


def describe(estimate: Estimate) -> list[str]:
    """An estimate, a line each."""
    lines = [f"for {estimate.problems} problems, from a sample of {estimate.sample}:"]
    for name in COUNTS:
        total, margin = getattr(estimate, name), estimate.margins[name]
        label = name.replace("_", " ")
        lines.append(f"  {label}: {total:,.0f} (± {margin:,.0f} in 9 of 10 cases)")
    lines.append(f"  hours: {estimate.seconds / 3600:.2f}")
    if estimate.cost is not None:
        sample = f" (the sample has cost {estimate.sample_cost:,.2f})" if estimate.sample_cost else ""
        lines.append(f"  cost: {estimate.cost:,.2f}{sample}")
    return lines


def save(estimate: Estimate, path: Path) -> None:
    """Keep an estimate, to be compared with the build."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(estimate), indent=2) + "\n", encoding="utf-8")


def compare(path: Path, report: BuildReport) -> list[str]:
    """
    How far off an estimate was, a line each; empty if there is none, or if it was of other problems.

    Args:
        path (`Path`): Where [`save`] kept it.
        report ([`BuildReport`]): What the build came to.
    """
    if not path.is_file():
        return []
    estimate = Estimate(**json.loads(path.read_text(encoding="utf-8")))
    if estimate.problems != report.trees:
        return []
    lines = ["the estimate against the build:"]
    pairs = [(name.replace("_", " "), getattr(estimate, name), report.statistics[name]) for name in COUNTS]
    if report.asked == report.statistics["requests"]:  # else an earlier run took a part of the time
        pairs.append(("seconds", estimate.seconds, report.seconds))
    return lines + [
        f"  {name}: {expected:,.0f} estimated, {taken:,.0f} taken ({expected / max(taken, 1e-9) - 1:+.1%})"
        for name, expected, taken in pairs
    ]
