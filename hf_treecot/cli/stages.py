"""What experiments share that run all of their stages in this process: the demo's trees, training by the recipes'
configurations for the starter model, and outcomes of answers, of which rows of figures are made.

It must not know which stages there are, nor in which order.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..base import Problem
from ..errors import InvalidInputError
from ..evaluation.statistics import estimate
from ..files import fingerprint
from ..starter.built_in import model_path
from . import advantage, cdpo, joint, redi, sft
from .build import BuildSettings
from .parser import parse


RECIPES = {"sft": sft, "cdpo": cdpo, "joint": joint, "redi": redi, "advantage": advantage}


def check_counts(arguments: Any, names: Iterable[str]) -> None:
    """
    Raises:
        InvalidInputError: One of these arguments is not positive.
    """
    for name in names:
        if getattr(arguments, name) < 1:
            raise InvalidInputError(f"{name}={getattr(arguments, name)} is out of range: it must be at least 1")


def tree_settings(output_dir: Path, **options) -> BuildSettings:
    """
    How trees are grown: as in the demo.

    Args:
        output_dir (`Path`): Where they go.
        options: Arguments of `treecot build` that differ: `model`, `seed`, `num_problems`, …
    """
    words = _words({"output_dir": output_dir, **options})
    return BuildSettings(*parse("build", BuildSettings.kinds(), None, ["--config", "build/demo", *words]))


def identity(model: str) -> str:
    """What tells a model from another of its name: of a directory its weights, else the name itself."""
    path = Path(model_path(model))
    return fingerprint(path, (".safetensors",)) if path.is_dir() else model


def load_engine(model: str):
    """A model in this process, by its name or directory."""
    from ..engines.local import LocalEngine

    return LocalEngine.from_pretrained(model_path(model))


def train(recipe: str, model: str, dataset: Path, directory: Path, *, seed: int, **options) -> Path:
    """
    Train a model by a recipe, unless that is done.

    Args:
        recipe (`str`): One of [`RECIPES`]; in its configuration for the starter model.
        model (`str`): What training starts from.
        dataset (`Path`): What is trained on.
        directory (`Path`): Where the trained model goes.
        seed (`int`): Of the order of rows.
        options: Arguments of the recipe that differ.

    Returns:
        `Path`: That directory.
    """
    if (directory / "trainer_state.json").is_file():  # what is saved last
        return directory
    options = {
        "model_name_or_path": model, "dataset": dataset, "output_dir": directory, "seed": seed,
        "save_strategy": "no", "disable_tqdm": True, **options,
    }  # fmt: skip
    module = RECIPES[recipe]
    script, *others = parse(recipe, module.kinds(), None, ["--config", f"{recipe}/starter", *_words(options)])
    script.watch = []
    module.train(script, *others)
    return directory


def outcomes(
    model: str,
    problems: Mapping[str, Sequence[Problem]],
    *,
    temperatures: Sequence[float] = (0.0,),
    max_new_tokens: int,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """
    Right or not and answered or not, for every problem.

    Args:
        model (`str`): Who answers.
        problems (`Mapping[str, Sequence[Problem]]`): Problems by the name of their kind.
        temperatures (`Sequence[float]`): Each is a way of decoding; 0 is greedy.
        max_new_tokens (`int`): Tokens of an answer.
        seed (`int`): Of the samples.

    Returns:
        `list[dict]`: For every kind and way of decoding `task`, `decoding`, and the lists `accuracy`,
        `no_answer_rate` and `tokens`, with an entry a problem: None where the verifier failed, which is no outcome.
    """
    from ..evaluation.outputs import answer_all

    engine = load_engine(model)
    found = []
    for task, asked in problems.items():
        for temperature in temperatures:
            outputs = answer_all(asked, engine, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
            found.append(
                {
                    "task": task,
                    "decoding": "sample" if temperature else "greedy",
                    "accuracy": [int(output.reward == 1) if output.verdict else None for output in outputs],
                    "no_answer_rate": [int(bool(output.no_answer)) if output.verdict else None for output in outputs],
                    "tokens": [output.tokens for output in outputs],
                }
            )
    engine.close()
    return found


def rows_of(label: str, by_seed: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """
    Rows of figures of one model, as [`~evaluation.comparison.rows_of`] makes of an evaluation.

    Args:
        label (`str`): What tables call the model.
        by_seed (`Sequence[list[dict]]`): [`outcomes`] of every seed of an experiment, on the same problems.
    """
    rows = []
    for same in zip(*by_seed, strict=True):
        row = {"model": label, "task": same[0]["task"], "decoding": same[0]["decoding"]}
        for figure in ("accuracy", "no_answer_rate", "tokens"):
            found = estimate([[[value] for value in seed[figure]] for seed in same])
            row |= {figure: found.value, f"{figure}_low": found.low, f"{figure}_high": found.high}
        rows.append({**row, "count": len(same[0]["accuracy"])})
    return rows


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as they stand on a command line."""
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]
