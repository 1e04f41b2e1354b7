"""The card of a published dataset: statistics of its trees, pictures of its lengths, and the template's slots.

Texts of problems and models are untrusted: all that goes into a card goes through [`inline`] or [`fenced`]. This
module reads trees; it must not know how a card is published.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..mcts.tree import Tree


TEMPLATE = files("hf_treecot.dataset_cards") / "trees.md"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
EXAMPLE_LENGTH = 1200  # characters
LICENSES = frozenset(
    "apache-2.0 mit openrail bsd bsd-2-clause bsd-3-clause cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 "
    "cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 "
    "cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 "
    "gpl gpl-2.0 gpl-3.0 lgpl lgpl-3.0 agpl-3.0 mpl-2.0 odc-by odbl pddl etalab-2.0 unlicense other unknown".split()
)
SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass
class TreeStatistics:
    """
    What a card says of the trees, gathered one tree at a time.

    Args:
        trees, with_right, with_pair (`int`): Trees; those with a right chain; with a right and a wrong one.
        sums (`Counter[str]`): Sums of the trees' statistics: simulations, right, wrong, requests, tokens, …
        kinds, patterns, verifiers (`Counter[str]`): Thoughts by kind, trees by pattern and by verifier.
        sources (`Counter[tuple[str, str]]`): Trees by source and its licence.
        settings (`dict[str, set[str]]`): Every value that a setting of the provenance takes.
        lengths (`dict[str, Counter[int]]`): Chains by their generated tokens, `"right"` and `"wrong"`.
        example (`Tree`, *optional*): The first tree with a right and a wrong chain.
    """

    trees: int = 0
    with_right: int = 0
    with_pair: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    patterns: Counter[str] = field(default_factory=Counter)
    verifiers: Counter[str] = field(default_factory=Counter)
    sources: Counter[tuple[str, str]] = field(default_factory=Counter)
    settings: dict[str, set[str]] = field(default_factory=dict)
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {"right": Counter(), "wrong": Counter()})
    example: Tree | None = None

    @classmethod
    def of(cls, trees: Iterable[Tree]) -> "TreeStatistics":
        """The statistics of some trees; none of them is kept but the example."""
        statistics = cls()
        for tree in trees:
            statistics._add(tree)
        return statistics

    def _add(self, tree: Tree) -> None:
        chains = {"right": tree.answers(right=True), "wrong": tree.answers(right=False)}
        self.trees += 1
        self.with_right += bool(chains["right"])
        has_pair = bool(chains["right"] and chains["wrong"])
        self.with_pair += has_pair
        self.sums.update(tree.statistics)
        self.kinds.update(node.kind for node in tree.nodes[1:])
        self.patterns[tree.pattern] += 1
        self.verifiers[tree.provenance.get("verifier", tree.problem.verifier)] += 1
        self.sources[tree.problem.source, tree.problem.license] += 1
        for name, value in tree.provenance.items():
            if name != "verifier":
                self.settings.setdefault(name, set()).add(value)
        for name, leaves in chains.items():
            self.lengths[name].update(sum(tree.nodes[i].tokens for i in tree.path(leaf)) for leaf in leaves)
        if self.example is None and has_pair:
            self.example = tree


def write_card(
    directory: Path,
    repo_id: str,
    statistics: TreeStatistics,
    rows: Mapping[str, Mapping[str, int]],
    report: Mapping[str, Any],
    *,
    lengths: Mapping[str, Counter[int]],
    models: Mapping[str, tuple[str, str]],
    languages: Iterable[str],
    license: str | None,
) -> None:
    """
    Write `README.md` and its pictures.

    Args:
        directory (`Path`): What will be published.
        repo_id (`str`): Under which name.
        statistics ([`TreeStatistics`]): Of the trees.
        rows (`Mapping`): Rows of each split of each configuration.
        report (`Mapping`): The run's `report.json`; may be empty.
        lengths (`Mapping[str, Counter[int]]`): Rows by their tokens, for each column of lengths.
        models (`Mapping[str, tuple[str, str]]`): Licence and page (or nothing) of every model that wrote.
        languages (`Iterable[str]`): ISO 639 codes.
        license (`str`, *optional*): Instead of the sources' licences.
    """
    pictures = {
        "chains": draw_lengths(statistics.lengths, "generated tokens of a chain", directory / "assets" / "chains.png"),
        "rows": draw_lengths(lengths, "tokens of a row's text", directory / "assets" / "rows.png"),
    }
    data = DatasetCardData(
        pretty_name=f"{repo_id.split('/')[-1]}: trees of thoughts",
        license=_licenses(statistics, license),
        language=list(languages),
        task_categories=["text-generation"],
        size_categories=next((name for limit, name in SIZES if statistics.trees < limit), "n>1M"),
        tags=["tree-cot", "mcts", "trl", "reasoning", "preference", "synthetic"],
        configs=[
            {
                "config_name": config,
                "data_files": [{"split": split, "path": f"{config}/{split}-*.parquet"} for split in splits],
            }
            for config, splits in rows.items()
        ],
    )
    card = DatasetCard.from_template(
        data, str(TEMPLATE), repo_id=repo_id, s=statistics, rows=rows, pictures=pictures,
        settings={name: listed(values) for name, values in sorted(statistics.settings.items())},
        right_share=_share(statistics.with_right, statistics.trees),
        pair_share=_share(statistics.with_pair, statistics.trees),
        right_chain_tokens=round(statistics.sums["generated_tokens"] / max(1, statistics.sums["right"])),
        models=dict(sorted(models.items())), inline=inline,
        failures=len(report.get("failures", {})), rejections=dict(sorted(report.get("rejections", {}).items())),
        selection=report.get("selection", {}), example=example(statistics.example),
    )  # fmt: skip
    card.save(directory / "README.md")


def draw_lengths(counts: Mapping[str, Counter[int]], label: str, path: Path) -> str | None:
    """
    Draw histograms of lengths, one over the other.

    Args:
        counts (`Mapping[str, Counter[int]]`): For each histogram, how often each length occurs.
        label (`str`): What is counted.
        path (`Path`): Where the picture goes.

    Returns:
        `str`, *optional*: The picture's name within the repository; None if there is nothing to draw.
    """
    from matplotlib.figure import Figure

    counts = {name: counter for name, counter in counts.items() if counter}
    if not counts:
        return None
    longest = max(max(counter) for counter in counts.values())
    colours = {"right": "#1a9850", "chosen": "#1a9850", "wrong": "#d73027", "rejected": "#d73027", "sft": "#4575b4"}
    figure = Figure(figsize=(7, 3))
    axes = figure.add_axes((0.1, 0.17, 0.88, 0.79))
    for name, counter in counts.items():
        axes.hist(
            list(counter), bins=40, range=(0, longest + 1), weights=list(counter.values()), histtype="stepfilled",
            facecolor=(colours[name], 0.15), edgecolor=colours[name], linewidth=1.5,
            label=f"{name} ({counter.total()})",
        )  # fmt: skip
    axes.set_xlabel(label)
    axes.set_ylabel("count")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return f"{path.parent.name}/{path.name}"


def inline(value: Any, limit: int = 200) -> str:
    """An untrusted value as one line of Markdown text: no markup, no HTML, no control characters."""
    text = " ".join(CONTROL.sub("\ufffd", str(value)).split())
    text = text if len(text) <= limit else f"{text[:limit]}…"
    return re.sub(r"([\\`*_\[\]|~$!#])", r"\\\1", html.escape(text))


def fenced(text: str, limit: int = EXAMPLE_LENGTH) -> str:
    """An untrusted text as a block of code that it cannot close."""
    text = CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))
    text = text if len(text) <= limit else f"{text[:limit]}…"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def example(tree: Tree | None) -> dict[str, str] | None:
    """A problem, its shortest right and its shortest wrong chain, as blocks of code; None without a tree."""
    if tree is None:
        return None
    right, wrong = (min(tree.answers(right=right), key=lambda i: len(tree.render(i))) for right in (True, False))
    texts = {"problem": tree.problem.prompt, "right": tree.render(right), "wrong": tree.render(wrong)}
    return {name: fenced(text) for name, text in texts.items()}


def _licenses(statistics: TreeStatistics, license: str | None) -> str | list[str]:
    if license is not None:
        return license
    names = {name.lower() for _, name in statistics.sources}
    known = sorted(names) if names <= LICENSES else sorted(names & LICENSES | {"unknown"})
    return known[0] if len(known) == 1 else known


def listed(values: Iterable[str]) -> str:
    """The first of some untrusted values, in one line, and how many there are if that is not all."""
    values = sorted(values)
    text = ", ".join(inline(value) for value in values[:8] if value) or "none"
    return f"{text}, … ({len(values)})" if len(values) > 8 else text


def _share(part: int, whole: int) -> str:
    return f"{part / max(1, whole):.0%}"
