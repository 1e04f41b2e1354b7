"""Select other SFT and preference rows from trees that are there already, also from the Hub. Nothing is generated.

treecot select --trees runs/demo --preference all --output_dir runs/all
treecot select --trees user/name --tokenizer Qwen/Qwen2.5-1.5B-Instruct --sft shortest
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from ..building.builder import BuildReport, select_again
from ..engines.server import load_tokenizer
from ..errors import InvalidInputError
from ..hub.dataset import load_trees
from ..reports.build_summary import print_report
from ..selection.selector import SelectionConfig, Selector
from ..starter.built_in import model_path
from .parser import parse, run


logger = logging.getLogger(__name__)


@dataclass
class SelectArguments:
    """Which trees, and where their rows go."""

    trees: str = field(metadata={"help": "Hub name of a dataset of trees, or the directory of a run."})
    revision: str | None = field(default=None, metadata={"help": "Its revision on the Hub."})
    tokenizer: str = field(
        default="starter",
        metadata={"help": "The model that will be trained: its tokens count. starter: the built-in one."},
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code that comes with the tokenizer."})
    output_dir: str = field(default="runs/selection", metadata={"help": "Where the dataset goes."})


def select(arguments: SelectArguments, config: SelectionConfig) -> BuildReport:
    """Read the trees one after the other, and write them with other rows."""
    tokenizer = load_tokenizer(model_path(arguments.tokenizer), arguments.trust_remote_code, needs_chat_template=False)
    selector = Selector.of_tokenizer(tokenizer, config)

    def skip(error: InvalidInputError) -> None:
        logger.warning(error)
        selector.rejections["malformed tree"] += 1

    trees = load_trees(arguments.trees, revision=arguments.revision, on_malformed=skip)
    return select_again(trees, selector, Path(arguments.output_dir), arguments.trees)


def main(args: list[str] | None = None) -> None:
    """Select, then say what came of it."""
    arguments, config = parse("select", (SelectArguments, SelectionConfig), __doc__, args)
    print_report(run(lambda: select(arguments, config)), Path(arguments.output_dir))
