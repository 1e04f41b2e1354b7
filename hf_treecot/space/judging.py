"""What is judged, in which order, and where it is kept."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from html import escape
from pathlib import Path

from huggingface_hub import CommitScheduler, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError

from ..errors import InvalidInputError
from ..selection.judgements import JudgementLog, item_id
from .rendering import chain_html, pair_html, text_html
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
    prompt = tree.problem.prompt
    if kind == KINDS[0]:
        chains = [(tree.render(leaf),) for leaf in tree.answers(right=True)]
    else:
        chains = [(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in index.pairs(tree)]
    found = []
    for number, texts in enumerate(dict.fromkeys(chains)):
        identity = item_id(prompt, *texts)
        shown = chain_html(texts[0]) if len(texts) == 1 else pair_html(*texts)
        gold = f'<p class="note">gold answer: {escape(tree.problem.answer)}</p>'
        html = f'<div data-item="{identity}"><h3 class="text">{text_html(prompt)}</h3>{gold}{shown}</div>'
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
