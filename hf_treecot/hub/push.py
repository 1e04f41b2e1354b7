"""Publishing on the Hub: datasets of trees, models with their results, Spaces.

This module says what is published; [`~repository.Repository`] knows how. It must not know how trees are grown or rows
are chosen.
"""

import fnmatch
import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from importlib.metadata import distribution
from pathlib import Path

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData, RepoCard
from huggingface_hub.errors import RepositoryNotFoundError
from packaging.requirements import Requirement

from ..errors import InvalidInputError
from ..starter.built_in import BUILT_IN
from .benchmark_results import FOLDER, PREFIX, find_entries, read_runs, write_entries
from .dataset import FEATURES, dataset_directory, load_trees, read_tables
from .dataset_card import TreeStatistics, inline, write_card
from .evaluation_results import read_results
from .parquet_shards import MAX_SHARD_SIZE, check_test_fraction, write_shards
from .repository import HUB_NAME, Published, Repository, with_retries
from .wheel import write_wheel


LENGTH_COLUMNS = {"sft": {"length": "sft"}, "preference": {"chosen_length": "chosen", "rejected_length": "rejected"}}
# What a trainer leaves beside a model: state to resume from, logs, and a pickle of its arguments, tokens included.
NOT_PUBLISHED = (
    "checkpoint-*",
    "merged",
    "runs",
    "training_args.bin",
    "trainer_state.json",
    "_*",
    ".*",
    "*.lock",
    "*.tmp",
)
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")


def push_trees(
    run_dir: Path | str,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    test_fraction: float = 0.1,
    languages: Iterable[str] = ("en",),
    license: str | None = None,
    max_shard_size: int = MAX_SHARD_SIZE,
    token: str | None = None,
) -> Published:
    """
    Publish the dataset of a run, with its card. Unchanged data makes no commit; what a call that failed has uploaded
    is not uploaded again.

    Args:
        run_dir (`Path`): A run's directory, or one made by [`~builder.select_again`].
        repo_id (`str`): `"user/name"`, or `"name"` for one's own namespace.
        private (`bool`, *optional*): Whether only you may see it. None: as it is; the account's default for a new one.
        revision (`str`): The branch, which must be there.
        test_fraction (`float`): The share of the problems whose rows are the test split.
        languages (`Iterable[str]`): Languages of the problems, as ISO 639 codes.
        license (`str`, *optional*): Licence of the dataset. Default: those of its problems' sources.
        max_shard_size (`int`): Of a parquet file, in bytes.
        token (`str`, *optional*): Default: that of `hf auth login`, or `HF_TOKEN`.

    Raises:
        InvalidInputError: No token or no right to write, an empty run, a repository that holds something else, is
            public though `private=True`, or has no such revision.
        HubError: The Hub kept failing. Call it again.
    """
    run_dir = Path(run_dir)
    dataset = dataset_directory(run_dir)
    trees = load_trees(dataset)
    if not any(len(table) for table in read_tables(dataset, "trees")):
        raise InvalidInputError(f"run_dir={str(run_dir)!r}: the run is empty; build at least one tree first")
    check_test_fraction(test_fraction)
    repository = Repository.claim(repo_id, "dataset", private, revision, token)
    repository.check_holds_trees()
    statistics = TreeStatistics.of(trees)
    report = run_dir / "report.json"
    with tempfile.TemporaryDirectory(prefix="treecot-publish-") as temporary:
        directory = Path(temporary)
        rows = write_shards(dataset, directory, test_fraction=test_fraction, max_shard_size=max_shard_size)
        write_card(
            directory,
            repository.repo_id,
            statistics,
            rows,
            json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {},
            lengths=_row_lengths(dataset),
            models=_models(repository.api, statistics),
            languages=languages,
            license=license,
        )
        ours = [f"{config}/*.parquet" for config in FEATURES] + ["assets/chains.png", "assets/rows.png"]
        return repository.replace_files(_files(directory), ours, f"{statistics.trees} trees")


def push_model(
    model_dir: Path | str,
    repo_id: str,
    *,
    results: Iterable[Path | str] = (),
    results_url: str | None = None,
    trees: str | None = None,
    private: bool | None = None,
    revision: str = "main",
    token: str | None = None,
) -> Published:
    """
    Publish a trained model with its card, and its evaluation results: all in the card's metadata, those on benchmarks
    of the Hub also in `.eval_results`, which the benchmark's leaderboard shows. What only serves to resume the
    training (checkpoints, logs) stays here.

    Args:
        model_dir (`Path`): What a trainer has saved.
        repo_id (`str`): `"user/name"`, or `"name"` for one's own namespace.
        results (`Iterable[Path]`): Result files of lighteval, or directories of such.
        results_url (`str`, *optional*): Where the outputs are, such as the dataset of details that an evaluation
            pushes.
        trees (`str`, *optional*): The dataset of trees on the Hub that it was trained on.
        private, revision, token: As in [`push_trees`].

    Raises:
        InvalidInputError: As in [`push_trees`]; or there is no model, or there are no results, or no such dataset can
            be.
        HubError: The Hub kept failing. Call it again.
    """
    model_dir = Path(model_dir)
    if not any((model_dir / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise InvalidInputError(
            f"model {str(model_dir)!r}: there is no config.json or adapter_config.json; give the directory of a model"
        )
    if trees is not None and not HUB_NAME.fullmatch(trees):
        raise InvalidInputError(f"trees={trees!r} is no name of a dataset on the Hub: give user/name")
    evaluation, runs = read_results(results), read_runs(results)
    repository = Repository.claim(repo_id, "model", private, revision, token)
    with tempfile.TemporaryDirectory(prefix="treecot-publish-") as temporary:
        card = Path(temporary) / "README.md"
        write_model_card(model_dir / "README.md", card, repository.repo_id, evaluation, trees)
        files = {**_files(model_dir, NOT_PUBLISHED), "README.md": card}
        files |= write_entries(find_entries(runs, repository.api, results_url), Path(temporary))
        return repository.replace_files(files, (*WEIGHTS, f"{FOLDER}/{PREFIX}*.yaml"), "model")


def push_space(
    space_dir: Path | str | None,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    token: str | None = None,
) -> Published:
    """
    Publish a Space: ours, with the wheel of this very version, so that it waits for no release; or one of your own.

    Args:
        space_dir (`Path`, *optional*): The directory of a Space of your own, whose `README.md` has a Space's header.
            None: ours.
        repo_id (`str`): `"user/name"`, or `"name"` for one's own namespace.
        private, revision, token: As in [`push_trees`].

    Raises:
        InvalidInputError: As in [`push_trees`]; or the header is missing.
        HubError: The Hub kept failing. Call it again.
    """
    directory = Path(str(resources.files("hf_treecot.space.shell"))) if space_dir is None else Path(space_dir)
    card = directory / "README.md"
    sdk = RepoCard.load(card).data.get("sdk") if card.is_file() else None
    if sdk is None:
        raise InvalidInputError(
            f"space {str(space_dir)!r}: there is no README.md whose header names an sdk; give the directory of a Space"
        )
    repository = Repository.claim(repo_id, "space", private, revision, token, sdk=sdk)
    files = _files(directory, ("__pycache__", "*.pyc", ".*", *(("__init__.py",) if space_dir is None else ())))
    with tempfile.TemporaryDirectory(prefix="treecot-publish-") as temporary:
        if space_dir is None:
            wheel = write_wheel(Path(temporary))
            requirements = Path(temporary) / "requirements.txt"
            requirements.write_text(_requirements(repository, wheel.name, revision), encoding="utf-8")
            files |= {wheel.name: wheel, "requirements.txt": requirements}
        return repository.replace_files(files, ("hf_treecot-*.whl",) if space_dir is None else (), "Space")


def _requirements(repository: Repository, wheel: str, revision: str) -> str:
    """
    What a Space installs: the wheel by its address, since what builds a Space sees `requirements.txt` alone. That of a
    private one cannot be read there: its `app.py` installs the wheel, and here stand what the wheel needs.
    """
    api = repository.api
    if not api.repo_info(repository.repo_id, repo_type="space").private:
        address = f"{api.endpoint}/spaces/{repository.repo_id}/resolve/{revision}/{wheel}"
        return f"hf-treecot[space] @ {address}\n"
    needed = [Requirement(text) for text in distribution("hf-treecot").requires or ()]
    wanted = [need for need in needed if need.marker is None or need.marker.evaluate({"extra": "space"})]
    names = (str(Requirement(f"{need.name}[{','.join(need.extras)}]{need.specifier}")) for need in wanted)
    return f"# {wheel}, which app.py installs, needs:\n" + "\n".join(names) + "\n"


def write_model_card(
    source: Path, path: Path, repo_id: str, evaluation: list[EvalResult], trees: str | None = None
) -> None:
    """
    Write a model's card with its evaluation results, as metadata and as a table, and a link to its trees.

    Args:
        source (`Path`): The card that the trainer wrote; may be missing.
        path (`Path`): Where the new one goes.
        repo_id (`str`): The model's name.
        evaluation (`list[EvalResult]`): From [`~hub.evaluation_results.read_results`].
        trees (`str`, *optional*): The dataset that it was trained on.
    """
    if source.is_file():
        card = ModelCard.load(source)
    else:
        data = ModelCardData(library_name="transformers", tags=["tree-cot"])
        card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {repo_id.split('/')[-1]}\n")
    if trees is not None:
        known = card.data.datasets or []
        card.data.datasets = list(dict.fromkeys([*([known] if isinstance(known, str) else known), trees]))
        link = f"https://huggingface.co/datasets/{trees}"
        about = f"The trees of thoughts that it learned from: [{trees}]({link})."
        card.text = f"{card.text.rstrip()}\n\n## Trees\n\n{about}\n"
    if evaluation:
        card.data.model_name, card.data.eval_results = repo_id.split("/")[-1], evaluation
        lines = ["\n## Evaluation\n", "| task | metric | value |", "| --- | --- | --- |"]
        lines += [f"| {inline(e.task_name)} | {inline(e.metric_type)} | {e.metric_value:.4g} |" for e in evaluation]
        card.text = card.text.rstrip() + "\n" + "\n".join(lines) + "\n"
    card.save(path)


def _files(directory: Path, leave_out: Iterable[str] = ()) -> dict[str, Path]:
    """The files of a directory by their relative paths."""
    paths = {path.relative_to(directory): path for path in sorted(directory.rglob("*")) if path.is_file()}
    return {
        relative.as_posix(): path
        for relative, path in paths.items()
        if not any(fnmatch.fnmatch(part, pattern) for part in relative.parts for pattern in leave_out)
    }


def _row_lengths(dataset: Path) -> dict[str, Counter[int]]:
    lengths: dict[str, Counter[int]] = {}
    for config, columns in LENGTH_COLUMNS.items():
        for table in read_tables(dataset, config):
            for column, name in columns.items():
                lengths.setdefault(name, Counter()).update(table[column].to_pylist())
    return lengths


def _models(api: HfApi, statistics: TreeStatistics) -> dict[str, tuple[str, str]]:
    """Licence and page of every model that wrote."""
    roles = ("generator", "critic", "regrow_generator")
    names = {name for role in roles for name in statistics.settings.get(f"{role}_model", ())}
    return {name: ("apache-2.0", "") if name in BUILT_IN.values() else _model(api, name) for name in names}


def _model(api: HfApi, name: str) -> tuple[str, str]:
    if not HUB_NAME.fullmatch(name):
        return "unknown", ""
    try:
        card = with_retries(lambda: api.model_info(name)).card_data or {}
    except RepositoryNotFoundError:  # a directory, or a model that has gone
        return "unknown", ""
    return str(card.get("license_name") or card.get("license") or "see its card"), f"https://huggingface.co/{name}"
