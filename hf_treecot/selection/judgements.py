"""Judgements: what people say of chains and pairs, kept so that nothing is lost, and read as a filter by selection.

A directory of JSON Lines files that are only ever appended to, one event a line; an undo is one more event. A chain or
pair is known by a digest of its text, so judgements hold for every dataset in which it occurs. This module must not
know how they are asked for.
"""

import hashlib
import json
import os
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from ..errors import InvalidInputError


VERDICTS = ("accept", "reject", "none")  # none: only a comment
UNDO = "undo"


@dataclass(frozen=True)
class Judgement:
    """
    One event.

    Args:
        item (`str`): [`item_id`] of the chain or pair.
        verdict (`str`): One of [`VERDICTS`], or `"undo"`: takes the annotator's last event back.
        annotator (`str`): Who judged.
        comment (`str`): Why.
        tree_id (`str`): Where it was seen, for people to find it again.
        time (`str`): When, in UTC; the events of one annotator take effect in this order.
    """

    item: str
    verdict: str
    annotator: str
    comment: str = ""
    tree_id: str = ""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))

    def __post_init__(self):
        if self.verdict not in (*VERDICTS, UNDO):
            raise InvalidInputError(f"verdict={self.verdict!r} is unknown: use one of {', '.join(VERDICTS)}, {UNDO}")
        if not self.annotator.strip():
            raise InvalidInputError("annotator is empty: say who judges")


def item_id(prompt: str, *chains: str) -> str:
    """
    What stands for a chain, or for a pair: the same wherever the same text occurs.

    Args:
        prompt (`str`): The problem.
        chains (`str`): A rendered chain, or the chosen and the rejected one.
    """
    return hashlib.blake2b(json.dumps([prompt, *chains]).encode(), digest_size=16).hexdigest()


class JudgementLog:
    """
    Appends events to a file of its own in a directory, and knows what stands.

    Args:
        directory (`Path`): Of the files; made if it is not there.

    Raises:
        InvalidInputError: A file there cannot be read.
    """

    def __init__(self, directory: Path | str):
        self.directory = Path(directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"judgements {str(directory)!r}: it cannot be written ({error.strerror}); choose another directory"
            ) from error
        # Two processes never write to one file, here or in a shared dataset.
        self.path = self.directory / f"{uuid.uuid4().hex}.jsonl"
        self.lock = FileLock(self.directory / ".lock")
        self._standing = _standing(read_events(self.directory))

    def add(self, judgement: Judgement) -> None:
        """Keep an event: when this returns, it is on the disk."""
        line = json.dumps(asdict(judgement)).encode() + b"\n"
        with self.lock, self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            _apply(judgement, self._standing)

    def undo(self, annotator: str) -> Judgement | None:
        """Take the last event of an annotator back; it is returned, None if there is none."""
        if not self._standing[annotator]:
            return None
        last = self._standing[annotator][-1]
        self.add(Judgement(last.item, UNDO, annotator, tree_id=last.tree_id))
        return last

    @property
    def annotators(self) -> list[str]:
        """Who has said something that stands."""
        return [annotator for annotator, events in list(self._standing.items()) if events]

    def of(self, annotator: str) -> dict[str, Judgement]:
        """What stands of one annotator, by item."""
        return {event.item: event for event in self._standing[annotator]}


@dataclass
class Judgements:
    """
    What all annotators together say, as selection asks it.

    Args:
        accepted, rejected (`Counter[str]`): Annotators by item.
    """

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def rejects(self, item: str) -> bool:
        """Whether an item is thrown out: at least one annotator rejects it, and no more accept it."""
        return 0 < self.rejected[item] >= self.accepted[item]


def load_judgements(directory: Path | str) -> Judgements:
    """
    What stands in a directory of judgements.

    Args:
        directory (`Path`): As written by a [`JudgementLog`], or downloaded from the Hub.

    Raises:
        InvalidInputError: There are none, or a file cannot be read.
    """
    if not any(Path(directory).glob("**/*.jsonl")):
        raise InvalidInputError(f"judgements {str(directory)!r}: there are none; give a directory with .jsonl files")
    judgements = Judgements()
    counters = {"accept": judgements.accepted, "reject": judgements.rejected}
    for events in _standing(read_events(Path(directory))).values():
        for item, event in {event.item: event for event in events if event.verdict in counters}.items():
            counters[event.verdict][item] += 1
    return judgements


def read_events(directory: Path) -> Iterator[Judgement]:
    """
    All events of a directory, in the order of their times.

    Raises:
        InvalidInputError: A line is not an event.
    """
    events = []
    for path in sorted(directory.glob("**/*.jsonl")):
        lines = path.read_bytes().split(b"\n")
        # What follows the last newline was being written when the power went: it was never acknowledged.
        for number, line in enumerate(lines[:-1], start=1):
            try:
                values = json.loads(line)
                if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
                    raise ValueError("it must be a mapping of texts")
                events.append(Judgement(**{name: values[name] for name in JUDGEMENT_COLUMNS}))
            except (ValueError, KeyError) as error:
                raise InvalidInputError(
                    f"judgements {str(path)!r}: line {number} is not a judgement ({error}); remove it"
                ) from error
    return iter(sorted(events, key=lambda event: event.time))


def _standing(events: Iterable[Judgement]) -> defaultdict[str, list[Judgement]]:
    """By annotator, the events that were not taken back."""
    standing: defaultdict[str, list[Judgement]] = defaultdict(list)
    for event in events:
        _apply(event, standing)
    return standing


def _apply(event: Judgement, standing: defaultdict[str, list[Judgement]]) -> None:
    events = standing[event.annotator]
    if event.verdict != UNDO:
        events.append(event)
    elif events:
        events.pop()


JUDGEMENT_COLUMNS = tuple(f.name for f in fields(Judgement))
