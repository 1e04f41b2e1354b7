"""How well the kinds of failure agree with a careful reading: precision and recall of each, on outputs that were read.

    python benchmarks/diagnostics_accuracy.py --data DIRECTORY_OF_REAL_ROWS

The outputs and their labels, with the rule they were labelled by, are in `tests/data/labelled_outputs.md`. Without
`--data` (or `$TREECOT_REAL_DATA`) only those of our own models are judged. Every disagreement is listed.
"""

import argparse
import asyncio
import gzip
import json
import os
from collections import Counter
from pathlib import Path

from hf_treecot.base import Problem
from hf_treecot.verifiers.diagnostics import is_over_reflecting
from hf_treecot.verifiers.judging import NO_ANSWER, judge_all


LABELLED = Path(__file__).parents[1] / "tests" / "data"
ANSWERED = "answered"
KINDS = (ANSWERED, *NO_ANSWER)
HELD_OUT = "held"  # how the ids of rows begin for which nothing was changed
HOT = "held-hot"  # of those, outputs at temperature 1.2: failures of the kinds that are rare otherwise


def own_rows() -> list[dict]:
    """Outputs of our own models, with their labels."""
    with gzip.open(LABELLED / "labelled_outputs.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def public_rows(data: Path) -> list[dict]:
    """Outputs that others published, with our labels; their limits are not known."""
    labels = [json.loads(line) for line in (LABELLED / "labelled_public.jsonl").read_text("utf-8").splitlines()]
    texts: dict[tuple[str, str], dict] = {}
    for name in {row["file"] for row in labels}:
        with gzip.open(data / "labelled" / name, "rt", encoding="utf-8") as file:
            texts |= {(name, row["id"]): row for row in map(json.loads, file)}
    return [
        {
            **label, "prompt": row["prompt"], "answer": row["gold"], "verifier": row["verifier"],
            "text": row["completion"], "tokens": 0, "is_truncated": False,
        }
        for label in labels
        for row in [texts[label["file"], label["id"]]]
    ]  # fmt: skip


def drawn_as(row: dict) -> str:
    """How a row was drawn, by its id."""
    return next((start for start in (HOT, HELD_OUT) if row["id"].startswith(start)), "")


def kinds(rows: list[dict]) -> list[str]:
    """What the rules say of every row."""
    problems = [Problem(row["id"], row["prompt"], row["answer"], row["verifier"], "labelled") for row in rows]
    texts, tokens = [row["text"] for row in rows], [row["tokens"] for row in rows]
    judged = asyncio.run(judge_all(texts, problems, tokens, [row["is_truncated"] for row in rows]))
    return [output.no_answer or ANSWERED for output in judged]


def scores(labels: list[str], found: list[str]) -> dict[str, tuple[int, int, int]]:
    """Of every kind: how often it was read, found, and both."""
    pairs = Counter(zip(labels, found, strict=True))
    read, said = Counter(labels), Counter(found)
    return {kind: (read[kind], said[kind], pairs[kind, kind]) for kind in KINDS}


def print_scores(title: str, rows: list[dict], found: list[str]) -> None:
    """A table in markdown."""
    print(f"\n{title}: {len(rows)} outputs\n")
    print("| kind | read | found | precision | recall |\n| --- | --- | --- | --- | --- |")
    for kind, (read, said, both) in scores([row["label"] for row in rows], found).items():
        precision, recall = (f"{both / count:.3f}" if count else "-" for count in (said, read))
        print(f"| {kind} | {read} | {said} | {precision} | {recall} |")


def main() -> None:
    """Judge, compare, and list where the two differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TREECOT_REAL_DATA"))
    data = parser.parse_args().data
    rows = own_rows() + (public_rows(Path(data)) if data else [])
    twice = [row for row in rows if "second_label" in row]
    same = sum(row["first_label"] == row["second_label"] for row in twice)
    print(f"The two readings agree on {same} of {len(twice)}")
    found = kinds(rows)
    for title, of in (("Those that the rules were mended on", ""), ("Others", HELD_OUT), ("At temperature 1.2", HOT)):
        chosen = [(row, kind) for row, kind in zip(rows, found, strict=True) if drawn_as(row) == of]
        print_scores(title, [row for row, _ in chosen], [kind for _, kind in chosen])
    print_scores("All", rows, found)
    print(f"\nOver-reflecting: read in 0, found in {sum(is_over_reflecting(row['text']) for row in rows)}\n")
    for row, kind in zip(rows, found, strict=True):
        if kind != row["label"]:
            print(f"{row['id']}: read as {row['label']}, found {kind}: …{row['text'][-100:]!r}")


if __name__ == "__main__":
    main()
