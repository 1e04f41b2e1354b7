"""Select other SFT and preference rows from trees that are there already, also from the Hub. Nothing is generated.

python recipes/select_rows.py --trees runs/demo --preference all --output_dir runs/all
python recipes/select_rows.py --trees user/name --tokenizer Qwen/Qwen2.5-1.5B-Instruct --sft shortest
"""

from dataclasses import dataclass, field
from pathlib import Path

from hf_treecot import recipe
from hf_treecot.builder import BuildReport, select_again
from hf_treecot.dataset import load_trees
from hf_treecot.errors import InvalidInputError
from hf_treecot.report import print_report
from hf_treecot.selection import SelectionArguments, Selector, selection_config


@dataclass
class Arguments(SelectionArguments):
    """Arguments of select_rows.py."""

    trees: str = field(kw_only=True, metadata={"help": "Hub name of a dataset of trees, or the directory of a run."})
    revision: str | None = field(default=None, metadata={"help": "Its revision on the Hub."})
    tokenizer: str = field(
        default="starter",
        metadata={"help": "The model that will be trained: its tokens count. starter: the built-in one."},
    )
    output_dir: str = field(default="runs/selection", metadata={"help": "Where the dataset goes."})
    max_sft_per_tree: int = field(default=1, metadata={"help": "SFT rows of one tree."})
    max_pairs_per_tree: int = field(default=16, metadata={"help": "Preference rows of one tree."})


def select(arguments: Arguments) -> BuildReport:
    """Read the trees one after the other, and write them with other rows."""
    from transformers import AutoTokenizer

    from hf_treecot.starter.training import model_path

    config = selection_config(arguments)
    trees = load_trees(arguments.trees, revision=arguments.revision)
    name = model_path(arguments.tokenizer)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"tokenizer {arguments.tokenizer!r} cannot be loaded ({str(error).splitlines()[0]}): "
            "give a Hub name or the directory of a model"
        ) from error
    selector = Selector(lambda text: tokenizer(text, add_special_tokens=False)["input_ids"], config)
    return select_again(trees, selector, Path(arguments.output_dir), arguments.trees)


def main() -> None:
    """Select, then say what came of it."""
    arguments = recipe.parse(Arguments, __doc__)
    print_report(recipe.run(lambda: select(arguments)), Path(arguments.output_dir))


if __name__ == "__main__":
    main()
