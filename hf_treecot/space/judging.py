"""What is judged, in which order, and where it is kept."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from html import escape
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitScheduler, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError

from ..errors import InvalidInputError
from ..selection.judgements import Judgement, JudgementLog, item_id
from .explore import LONGEST_GOLD
from .rendering import chain_html, pair_html
from .text import text_html
from .tree_index import TreeIndex


logger = logging.getLogger(__name__)

KINDS = ("chains with a right answer", "preference pairs")
LONGEST_NAME, LONGEST_COMMENT = 60, 4000  # characters
TREES_A_STEP = 300  # looked through for something that is not judged yet
MINUTES_BETWEEN_COMMITS = 5


@dataclass(frozen=True)
class Item:
    """A chain or pair: where it is, what stands for it, and how it looks."""

    row: int
    number: int
    item: str
    tree_id: str
    html: str


def items(index: TreeIndex, row: int, kind: str) -> list[Item]:
    """What there is to judge in one tree."""
    tree = index.tree(row)
    prompt, answer = tree.problem.prompt, " ".join(tree.problem.answer.split())
    if kind == KINDS[0]:
        chains = [(tree.render(leaf),) for leaf in tree.answers(right=True)]
    else:
        chains = [(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in index.pairs(tree)]
    found = []
    for number, texts in enumerate(dict.fromkeys(chains)):
        identity = item_id(prompt, *texts)
        shown = chain_html(texts[0]) if len(texts) == 1 else pair_html(*texts)
        gold = f'<p class="note">right: {escape(answer)}</p>' if len(answer) <= LONGEST_GOLD else ""
        html = f'<div data-item="{identity}"><div class="problem text">{text_html(prompt)}</div>{gold}{shown}</div>'
        found.append(Item(row, number, identity, tree.tree_id, html))
    return found


def walk(index: TreeIndex, rows: list[int], kind: str, start: Item | None, step: int) -> Iterator[Item]:
    """Items after one (`step=1`) or before it (`step=-1`), tree after tree; malformed trees are passed over."""
    at = rows.index(start.row) if start and start.row in rows else 0 if step > 0 else len(rows) - 1
    for row in rows[at::step] if step > 0 else rows[at::-1]:
        try:
            found = items(index, row, kind)
        except InvalidInputError as error:
            logger.warning(error)
            continue
        for item in found[::step]:
            same = start is not None and item.row == start.row
            if not same or (item.number - start.number) * step > 0:
                yield item


def find(
    index: TreeIndex, rows: list[int], kind: str, start: Item | None, step: int, wanted: Callable[[Item], bool]
) -> Item | None:
    """The next item that is wanted, within so many trees."""
    seen: set[int] = set()
    for item in walk(index, rows, kind, start, step):
        seen.add(item.row)
        if wanted(item):
            return item
        if len(seen) > TREES_A_STEP:
            return None
    return None


def progress_html(
    index: TreeIndex, rows: list[int], kind: str, standing: Mapping[str, Judgement], item: Item | None
) -> str:
    """
    How far somebody is with what is listed: exactly, where it is quick to count, else by trees.

    Args:
        index ([`TreeIndex`]): The dataset.
        rows (`list[int]`): Its trees that are listed.
        kind (`str`): One of [`KINDS`].
        standing (`Mapping[str, Judgement]`): What this person said, by item.
        item ([`Item`], *optional*): What is shown.
    """
    said = [standing[item.item].verdict] if item and item.item in standing else []
    this = f" · this one: {said[0]}ed" if said and said[0] != "none" else ""
    if len(rows) > TREES_A_STEP:
        place = f"tree {rows.index(item.row) + 1:,} of {len(rows):,}" if item and item.row in rows else ""
        return f'<p class="note" role="status">{place}{this}</p>'
    listed = [identity for row in rows for identity in _identities(index, row, kind)]
    verdicts = [standing[identity].verdict for identity in listed if identity in standing]
    done, total = len(verdicts), len(listed)
    counted = f"you accepted {verdicts.count('accept')} and rejected {verdicts.count('reject')}"
    return (
        f'<div class="progress"><span role="status"><b>{done} of {total}</b> judged · {counted}{this}</span>'
        f'<progress max="{max(1, total)}" value="{done}" aria-label="judged"></progress></div>'
    )


@lru_cache(maxsize=20_000)
def _identities(index: TreeIndex, row: int, kind: str) -> tuple[str, ...]:
    """What there is to judge in one tree, by what stands for it; nothing of a malformed one."""
    try:
        return tuple(found.item for found in items(index, row, kind))
    except InvalidInputError:
        return ()


class Agreement(NamedTuple):
    """
    How far annotators agree.

    Args:
        annotators, items (`int`): Who accepted or rejected something that another one did too, and of how much.
        share (`float`): Of all pairs of verdicts on one item, those that are the same.
        alpha (`float`): Krippendorff's α, for two categories: 1 is perfect, 0 is chance.
    """

    annotators: int
    items: int
    share: float
    alpha: float


def agreement(log: JudgementLog) -> Agreement | None:
    """How far all annotators agree; None where no two have judged the same."""
    verdicts: dict[str, dict[str, str]] = {}
    for person in log.annotators:
        for item, event in log.of(person).items():
            if event.verdict in ("accept", "reject"):
                verdicts.setdefault(item, {})[person] = event.verdict
    units = [Counter(by.values()) for by in verdicts.values() if len(by) > 1]
    if not units:
        return None
    people = {person for by in verdicts.values() if len(by) > 1 for person in by}
    total, sums = sum(unit.total() for unit in units), sum(units, Counter())
    same = [sum(n * (n - 1) for n in unit.values()) for unit in units]
    share = sum(same) / sum(unit.total() * (unit.total() - 1) for unit in units)
    observed = 1 - sum(s / (unit.total() - 1) for s, unit in zip(same, units, strict=True)) / total
    expected = 1 - sum(n * (n - 1) for n in sums.values()) / (total * (total - 1))
    return Agreement(len(people), len(units), share, 1 - observed / expected if expected else 1.0)


def agreement_html(log: JudgementLog) -> str:
    """The same in a sentence; empty where there is nothing to say."""
    if (found := agreement(log)) is None:
        return ""
    return (
        f'<p class="note">{found.annotators} annotators have {found.items} items in common and agree in '
        f"{found.share:.0%} (Krippendorff's α {found.alpha:.2f}).</p>"
    )


def annotator(name: str, key: str, public: bool) -> str:
    """
    Who judges. On a public Space the name alone would let anybody read and take back what others have said, so it goes
    with a digest of a secret that only this browser has.
    """
    name = " ".join(name.split())[:LONGEST_NAME]
    if not name or not public:
        return name
    return f"{name}#{blake2b(key.encode(), digest_size=8).hexdigest()}" if key else ""


def open_log(directory: Path, repo_id: str | None) -> tuple[JudgementLog, CommitScheduler | None]:
    """
    The log of this app; with a repository, what is there comes first, and what is new follows every few minutes.

    Args:
        directory (`Path`): Where every judgement is at once.
        repo_id (`str`, *optional*): A dataset on the Hub; made, and private, if it is not there.
    """
    if repo_id is None:
        return JudgementLog(directory), None
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(RepositoryNotFoundError):  # the first time: the scheduler makes it
        snapshot_download(repo_id, repo_type="dataset", local_dir=directory, allow_patterns="*.jsonl")
    log = JudgementLog(directory)
    scheduler = CommitScheduler(
        repo_id=repo_id, folder_path=directory, every=MINUTES_BETWEEN_COMMITS, repo_type="dataset", private=True,
        allow_patterns="*.jsonl",
    )  # fmt: skip
    return log, scheduler
