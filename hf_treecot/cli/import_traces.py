"""Traces that models wrote become trees: cut into thoughts, verified, and merged where those of a problem begin alike.

    treecot import --traces open-r1/OpenR1-Math-220k --tokenizer Qwen/Qwen2.5-1.5B-Instruct
    treecot import --traces rows.jsonl --columns prompt=question answer=final trace=output

A row has a problem, its gold answer, and a trace: a text with its think block (`<think>…</think>`), messages, or a
list of such; or thoughts in a column of their own. Several rows may be about one problem. Wrong traces are taken, too:
they make pairs. What is left out is counted, with its reason.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from tqdm.asyncio import tqdm_asyncio

from ..building.builder import BuildReport, select_again
from ..building.run_directory import check_directory
from ..engines.server import load_tokenizer
from ..errors import InvalidInputError
from ..mcts.tree import Tree
from ..problems.loading import check_unique
from ..reports.build_summary import print_report
from ..selection.selector import SelectionConfig, Selector
from ..starter.built_in import model_path
from ..traces.growing import tree_of_traces
from ..traces.reading import COLUMNS, TRACE_FORMATS, Traces, read_traces
from ..verifiers import load_verifier, verifier_version
from ..verifiers.worker import VerifierPool
from .parser import parse, run


@dataclass
class ImportArguments:
    """Which traces, and where the trees go."""

    traces: list[str] = field(
        metadata={"help": "Files (.json, .jsonl, .csv, .parquet), directories or Hub datasets of traces."}
    )
    split: str = field(default="train", metadata={"help": "Split of directories and Hub datasets."})
    config_name: str | None = field(default=None, metadata={"help": "Configuration of Hub datasets."})
    columns: list[str] = field(
        default_factory=list,
        metadata={
            "help": "prompt=COLUMN answer=COLUMN trace=COLUMN [thinking=COLUMN] [problem_id=COLUMN]. Default: as in "
            f"the sets that are known: {', '.join(TRACE_FORMATS)}."
        },
    )
    num_rows: int | None = field(default=None, metadata={"help": "At most so many rows of each source."})
    verifier: str | None = field(
        default=None, metadata={"help": "Instead of those that the rows name, of which the default is math."}
    )
    writer: str = field(default="", metadata={"help": "Hub name of the model that wrote them, for the record."})
    tokenizer: str = field(
        default="starter",
        metadata={"help": "The model that will be trained: its tokens count. starter: the built-in one."},
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code that comes with the tokenizer."})
    verifier_time_limit: float = field(default=10.0, metadata={"help": "Seconds for one check."})
    output_dir: str = field(default="runs/traces", metadata={"help": "Where the dataset goes."})

    def __post_init__(self):
        if self.num_rows is not None and self.num_rows < 1:
            raise InvalidInputError(f"num_rows={self.num_rows} is out of range: it must be at least 1")
        if bad := [item for item in self.columns if item.count("=") != 1]:
            raise InvalidInputError(f"columns={bad[0]!r}: write it as one of {'=COLUMN, '.join(COLUMNS)}=COLUMN")


async def grow(
    traces: list[Traces], arguments: ImportArguments, selector: Selector, dropped: Counter[str]
) -> list[Tree]:
    """The trees of all problems that have one, with their provenance."""

    def count_tokens(text: str) -> int:
        return len(selector.tokenize(text))

    async with VerifierPool(time_limit=arguments.verifier_time_limit) as pool:
        grown = await tqdm_asyncio.gather(
            *(tree_of_traces(found, pool.verify, count_tokens, dropped) for found in traces),
            desc="Problems", unit="problem",
        )  # fmt: skip
    trees = [tree for tree in grown if tree is not None]
    for tree in trees:
        verifier = tree.problem.verifier
        tree.provenance = {
            "seed": "", "tokenizer": selector.tokenizer_name, "hf_treecot": version("hf-treecot"),
            "verifier": f"{verifier} {verifier_version(verifier)}",
            **({"generator_model": arguments.writer} if arguments.writer else {}),
        }  # fmt: skip
    return trees


def import_traces(arguments: ImportArguments, config: SelectionConfig) -> BuildReport:
    """Read the traces, grow their trees, and write them with rows."""
    check_directory(Path(arguments.output_dir))
    columns = dict(item.split("=") for item in arguments.columns) or None
    dropped: Counter[str] = Counter()
    traces = [
        found
        for source in arguments.traces
        for found in read_traces(
            source, split=arguments.split, config_name=arguments.config_name, columns=columns,
            verifier=arguments.verifier, limit=arguments.num_rows, dropped=dropped,
        )
    ]  # fmt: skip
    check_unique(found.problem for found in traces)
    for verifier in {found.problem.verifier for found in traces}:
        load_verifier(verifier)
    tokenizer = load_tokenizer(model_path(arguments.tokenizer), arguments.trust_remote_code, needs_chat_template=False)
    selector = Selector.of_tokenizer(tokenizer, config)
    trees = asyncio.run(grow(traces, arguments, selector, dropped))
    selector.rejections.update({f"import: {reason}": count for reason, count in dropped.items()})
    if not trees:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in dropped.most_common(3)) or "there are none"
        raise InvalidInputError(f"traces {', '.join(arguments.traces)!r}: no trace can be taken ({reasons})")
    report = select_again(trees, selector, Path(arguments.output_dir), ", ".join(arguments.traces))
    kinds = Counter(node.kind for tree in trees for node in tree.nodes[1:])
    print(f"Thoughts: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    return report


def main(args: list[str] | None = None) -> None:
    """Import, then say what came of it."""
    arguments, config = parse("import", (ImportArguments, SelectionConfig), __doc__, args)
    print_report(run(lambda: import_traces(arguments, config)), Path(arguments.output_dir))
