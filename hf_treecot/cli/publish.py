"""Publish on the Hub: a dataset of trees, a trained model with its evaluation results, or a Space.

    treecot publish --dataset runs/demo --repo_id user/name
    treecot publish --model runs/demo/sft --results runs/demo/evaluation --repo_id user/name
    treecot publish --space --repo_id user/name              # ours, as it is in this version; or --space DIRECTORY

Log in first with `hf auth login`. Run the same command again after any interruption: it goes on where it was.
"""

from dataclasses import dataclass, field

from ..errors import InvalidInputError
from ..hub.push import push_model, push_space, push_trees
from ..hub.repository import Published
from .parser import parse, run


OURS = "ours"


@dataclass
class PublishArguments:
    """What is published, and where."""

    repo_id: str = field(metadata={"help": "user/name, or name for your own namespace."})
    dataset: str | None = field(default=None, metadata={"help": "The directory of a run, or of a selection."})
    model: str | None = field(default=None, metadata={"help": "The directory of a model."})
    space: str | None = field(
        default=None,
        metadata={
            "nargs": "?",
            "const": OURS,
            "help": "Our Space, with this very version; or the directory of one of yours.",
        },
    )
    private: bool | None = field(
        default=None, metadata={"help": "true: only you may see it. Default: as it is, or as your account has it."}
    )
    revision: str = field(default="main", metadata={"help": "The branch, which must be there."})
    test_fraction: float = field(
        default=0.1, metadata={"help": "The share of a dataset's problems in its test split."}
    )
    languages: list[str] = field(
        default_factory=lambda: ["en"], metadata={"help": "Languages of a dataset's problems, as ISO 639 codes."}
    )
    license: str | None = field(
        default=None, metadata={"help": "Licence of a dataset. Default: those of its problems' sources."}
    )
    results: list[str] = field(
        default_factory=list,
        metadata={
            "help": "A model's results: lighteval's results_*.json, or directories of such. Whole runs on benchmarks "
            "of the Hub are also shown on their leaderboards."
        },
    )
    results_url: str | None = field(
        default=None, metadata={"help": "Where everybody can look at a model's outputs on benchmarks."}
    )
    trees: str | None = field(
        default=None, metadata={"help": "The dataset of trees on the Hub that a model was trained on."}
    )


def publish(arguments: PublishArguments) -> Published:
    """Publish what was asked for."""
    given = [name for name in ("dataset", "model", "space") if getattr(arguments, name)]
    if len(given) != 1:
        raise InvalidInputError(f"give one of --dataset, --model and --space (got {', '.join(given) or 'none'})")
    common = {"private": arguments.private, "revision": arguments.revision}
    if arguments.dataset:
        return push_trees(
            arguments.dataset,
            arguments.repo_id,
            test_fraction=arguments.test_fraction,
            languages=arguments.languages,
            license=arguments.license,
            **common,
        )
    if arguments.model:
        about = {"results": arguments.results, "results_url": arguments.results_url, "trees": arguments.trees}
        return push_model(arguments.model, arguments.repo_id, **about, **common)
    return push_space(None if arguments.space == OURS else arguments.space, arguments.repo_id, **common)


def main(args: list[str] | None = None) -> None:
    """Publish, then say where it is."""
    arguments = parse("publish", PublishArguments, __doc__, args)
    published = run(lambda: publish(arguments), resume="Run the same command again to go on.")
    print(f"{'Published' if published.changed else 'Unchanged'}: {published.url} at {published.commit}")
