"""What the training commands share: where rows come from, what is watched, how a run resumes and is published."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from accelerate.utils import is_peft_model
from datasets import Dataset, load_dataset
from peft import AutoPeftModelForCausalLM
from transformers import AutoConfig, AutoTokenizer, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging
from trl import ModelConfig, get_peft_config, get_quantization_config

from ..base import Problem
from ..control_tokens import escape_control_tokens
from ..errors import InvalidInputError
from ..files import fingerprint, write_atomically
from ..hub.dataset import dataset_directory, load_trees
from ..hub.push import push_model
from ..hub.repository import HUB_NAME
from ..mcts.tree import Tree
from ..problems.loading import load_problems
from ..selection.advantages import advantage_rows
from ..selection.formats import FORMATS
from ..starter.built_in import model_path
from ..trainers.callbacks import AnswerRateCallback, LogProbabilityAlarm
from ..trainers.sft_data import check_completions
from ..trainers.trl_compat import save_without_pushing


logger = logging.get_logger(__name__)
# Columns by which rows that were selected otherwise, or from other trees, are told apart.
IDENTIFYING = ("tree_id", "rank", "length", "shared_prefix_length", "chosen_length", "rejected_length")
COLUMNS = {"sft": ("prompt", "completion"), "preference": ("prompt", "chosen", "rejected")}


@dataclass
class ScriptArguments:
    """What is trained on, and what is watched."""

    dataset: str = field(metadata={"help": "Hub name of a dataset of trees, or the directory of a run."})
    split: str = field(default="train", metadata={"help": "Its split."})
    watch: list[str] = field(
        default_factory=list,
        metadata={"help": "Held-out problems to answer while training: files, Hub datasets, letters, arithmetic."},
    )
    watch_split: str = field(default="test", metadata={"help": "Split of directories and Hub datasets among them."})
    watch_config_name: str | None = field(
        default=None, metadata={"help": "Configuration of Hub datasets among them (main for GSM8K)."}
    )
    num_watched: int = field(default=32, metadata={"help": "Problems of each."})
    watch_seed: int = field(default=1234, metadata={"help": "Seed of generated ones; not that of the training data."})
    watch_every_n_steps: int = field(default=50, metadata={"help": "Answer them every so many steps."})
    watch_max_new_tokens: int = field(default=512, metadata={"help": "Tokens of an answer."})
    max_no_answer_rate: float | None = field(
        default=None, metadata={"help": "Stop when more of the outputs than this have no answer."}
    )


@dataclass
class TreeArguments(ScriptArguments):
    """Which trees are trained on, how their chains are written, and what is watched."""

    format: str = field(default="tags", metadata={"help": f"How chains are written: {', '.join(FORMATS)}."})

    def __post_init__(self):
        if self.format not in FORMATS:
            raise InvalidInputError(f"format={self.format!r} is unknown: use one of {', '.join(FORMATS)}")


def train_on_pairs(trainer_class, script: ScriptArguments, training: TrainingArguments, model: ModelConfig) -> None:
    """Train on the `preference` configuration with a trainer of pairs, as [`~trainers.CDPOTrainer`]."""
    _train_on(lambda: load_rows(script, "preference"), trainer_class, script, training, model)


def train_on_chains(trainer_class, script: ScriptArguments, training: TrainingArguments, model: ModelConfig) -> None:
    """Train on the `sft` configuration with a trainer of right chains, as [`~trl.SFTTrainer`]."""

    def check(trainer: Trainer, rows: Dataset) -> None:
        check_completions(rows, trainer.processing_class, training.max_length)

    _train_on(lambda: load_rows(script, "sft"), trainer_class, script, training, model, check)


def train_on_trees(trainer_class, script: TreeArguments, training: TrainingArguments, model: ModelConfig) -> None:
    """Train on all verified chains of the `trees` configuration, as [`~trainers.TreeAdvantageTrainer`] does."""
    _train_on(lambda: load_advantages(script), trainer_class, script, training, model)


def _train_on(
    load: Callable[[], Dataset],
    trainer_class,
    script: ScriptArguments,
    training: TrainingArguments,
    model: ModelConfig,
    check: Callable[[Trainer, Dataset], None] = lambda trainer, rows: None,
) -> None:
    """Everything is read and checked before a model is loaded, and the rows once more, by `check`, after."""
    check_numbers(script, training)
    problems = watched_problems(script)
    rows = load()
    name = set_up_model(model, training)
    claim_output(training, name, rows)
    trainer = trainer_class(name, args=training, train_dataset=rows, peft_config=get_peft_config(model))
    check(trainer, rows)
    train(trainer, script, problems)


def load_advantages(script: TreeArguments) -> Dataset:
    """
    The chains of a dataset of trees, with the advantages of their thoughts; malformed trees are left out and counted.

    Raises:
        InvalidInputError: There is no such dataset, or no chain in it.
    """
    if script.split != "train":
        raise InvalidInputError(f"split={script.split!r}: trees have the split train alone: leave it out")
    rows = [row for tree in read_trees(script.dataset) for row in advantage_rows(tree, script.format)]
    if not rows:
        raise InvalidInputError(f"dataset {script.dataset!r}: its trees have no verified answer: grow others")
    return Dataset.from_list(rows)


def read_trees(dataset: str) -> Iterator[Tree]:
    """
    The trees of a dataset; malformed ones are left out and counted.

    Raises:
        InvalidInputError: There is no such dataset.
    """
    malformed: list[InvalidInputError] = []
    yield from load_trees(dataset, on_malformed=malformed.append)
    if malformed:
        logger.warning(f"{len(malformed)} malformed trees are left out; the first: {malformed[0]}")


def check_numbers(script: ScriptArguments, training: TrainingArguments) -> None:
    """
    Raises:
        InvalidInputError: A number with which nothing, or nothing sensible, would be trained.
    """
    check_training_numbers(training)
    for name in ("num_watched", "watch_every_n_steps", "watch_max_new_tokens"):
        if getattr(script, name) < 1:
            raise InvalidInputError(f"{name}={getattr(script, name)} is out of range: it must be at least 1")
    if script.max_no_answer_rate is not None and not 0 <= script.max_no_answer_rate <= 1:
        raise InvalidInputError(
            f"max_no_answer_rate={script.max_no_answer_rate} is out of range: it must be from 0 to 1"
        )


def check_training_numbers(training: TrainingArguments) -> None:
    """
    Raises:
        InvalidInputError: A number with which nothing would be trained.
    """
    positive = ["learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "beta"]
    if training.max_steps <= 0:
        positive.append("num_train_epochs")
    for name in positive:
        if not getattr(training, name, 1) > 0:
            raise InvalidInputError(f"{name}={getattr(training, name)} is out of range: it must be above 0")


def load_rows(script: ScriptArguments, config_name: str) -> Dataset:
    """
    The rows of one configuration of a dataset of trees.

    Args:
        script ([`ScriptArguments`]): Names the dataset.
        config_name (`str`): `"sft"` or `"preference"`.

    Raises:
        InvalidInputError: There is no such dataset, configuration or split.
    """
    if not Path(script.dataset).exists() and not HUB_NAME.fullmatch(script.dataset):
        raise InvalidInputError(
            f"dataset {script.dataset!r}: there is no such directory, and it is no name on the Hub: give the "
            "directory of a run, or user/name"
        )
    try:  # a Hub name is a path that is not there, and so stays as it is
        rows = load_dataset(str(dataset_directory(Path(script.dataset))), config_name, split=script.split)
    except (FileNotFoundError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"dataset {script.dataset!r}, configuration {config_name!r}, split {script.split!r} cannot be loaded "
            f"({reason}): give a Hub name or the directory of a run"
        ) from error
    if missing := [name for name in COLUMNS[config_name] if name not in rows.column_names]:
        raise InvalidInputError(
            f"dataset {script.dataset!r}, configuration {config_name!r}: there is no column {missing[0]!r} (it has "
            f"{', '.join(rows.column_names)}): give a dataset of trees, or rename its columns"
        )
    # Ours hold none; in a dataset of others they would be turns of a conversation that nobody had.
    return rows.map(partial(_as_text, columns=COLUMNS[config_name]), desc="Checking for control tokens")


def _as_text(row: dict, columns: tuple[str, ...]) -> dict:
    """A row whose messages hold no control tokens."""

    def escape(value):
        if isinstance(value, str):
            return escape_control_tokens(value)
        return [{**message, "content": escape(message["content"])} for message in value] if value else value

    return {column: escape(row[column]) for column in columns}


def claim_output(training: TrainingArguments, model: str, rows: Dataset) -> None:
    """
    See that what a directory holds was trained from this model on these rows, so that it may go on from there.

    Args:
        training (`~transformers.TrainingArguments`): Says where checkpoints go.
        model (`str`): Hub name or directory that training starts from.
        rows (`~datasets.Dataset`): What is trained on.

    Raises:
        InvalidInputError: It holds a model of other rows, or one that started from another.
    """
    directory = Path(training.output_dir)
    columns = [name for name in IDENTIFYING if name in rows.column_names]
    content = json.dumps([len(rows), rows.select_columns(columns).to_dict() if columns else None])
    start = fingerprint(Path(model), (".safetensors",)) if Path(model).is_dir() else model
    inputs = {"model": start, "rows": hashlib.sha256(content.encode()).hexdigest()[:16]}
    path = directory / "trained_from.json"
    if path.is_file() and (other := json.loads(path.read_text(encoding="utf-8"))) != inputs:
        what = "another model" if other.get("model") != inputs["model"] else "other rows"
        raise InvalidInputError(
            f"output_dir={str(directory)!r} holds a model that was trained from {what}: remove it to train anew, or "
            "choose another directory"
        )
    if training.process_index == 0:
        write_atomically(path, json.dumps(inputs))


def watched_problems(script: ScriptArguments) -> list[Problem]:
    """The problems answered while training; read first, so that a bad name fails before anything is trained."""
    return [
        problem
        for source in script.watch
        for problem in load_problems(
            source,
            split=script.watch_split,
            config_name=script.watch_config_name,
            limit=script.num_watched,
            seed=script.watch_seed,
        )
    ]


def set_up_model(model: ModelConfig, training: TrainingArguments) -> str:
    """
    Put what was asked of the model into the trainer's configuration, and find the model.

    Args:
        model (`~trl.ModelConfig`): The model; the names `starter` and `hasty` mean built-in ones.
        training (`~transformers.TrainingArguments`): A configuration of TRL; changed in place.

    Returns:
        `str`: Hub name or directory.

    Raises:
        InvalidInputError: No model is named, or there is none of that name.
    """
    training.model_init_kwargs = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        "quantization_config": get_quantization_config(model),
        **(training.model_init_kwargs or {}),
    }
    if training.hub_token is not None:
        raise InvalidInputError(
            "hub_token is not taken here, since trainers save their arguments beside the model: log in with "
            "`hf auth login`, or set HF_TOKEN"
        )
    if model.model_name_or_path is None:
        raise InvalidInputError(
            "model_name_or_path is not given: name a model of the Hub, a directory, starter or hasty"
        )
    path = model_path(model.model_name_or_path)
    try:
        AutoConfig.from_pretrained(path, revision=model.model_revision, trust_remote_code=training.trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"model_name_or_path={model.model_name_or_path!r} cannot be loaded ({reason}): "
            "give a Hub name, the directory of a model, starter or hasty"
        ) from error
    template = getattr(training, "chat_template_path", None)
    tokenizer = AutoTokenizer.from_pretrained(
        path, revision=model.model_revision, trust_remote_code=training.trust_remote_code
    )
    if tokenizer.chat_template is None and template is None:
        raise InvalidInputError(
            f"model_name_or_path={model.model_name_or_path!r} has no chat template, which says where a turn ends: use "
            "an instruction-tuned model, or save its tokenizer with a chat_template"
        )
    return path


def last_checkpoint(directory: Path) -> str | None:
    """The last checkpoint that is whole: its state is written last. One whose writing was killed is passed over."""
    whole = [path.parent for path in directory.glob(f"{PREFIX_CHECKPOINT_DIR}-*/{TRAINER_STATE_NAME}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def train(trainer: Trainer, script: ScriptArguments, problems: list[Problem]) -> None:
    """
    Train, from the last checkpoint if there is one; save, and publish if asked.

    Args:
        trainer (`~transformers.Trainer`): Ready to train.
        script ([`ScriptArguments`]): What is watched.
        problems (`list[Problem]`): From [`watched_problems`].
    """
    if problems:
        trainer.add_callback(
            AnswerRateCallback(
                trainer,
                problems,
                every_n_steps=script.watch_every_n_steps,
                max_new_tokens=script.watch_max_new_tokens,
                max_no_answer_rate=script.max_no_answer_rate,
            )
        )
    trainer.add_callback(LogProbabilityAlarm())
    fit(trainer)
    publish(trainer, script.dataset)


def fit(trainer: Trainer) -> None:
    """Train, from the last checkpoint if there is one, and save."""
    last = last_checkpoint(Path(trainer.args.output_dir))
    trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint or last)
    save_without_pushing(trainer)
    trainer.save_state()


def publish(trainer: Trainer, dataset: str) -> None:
    """
    Write the card of a model that is saved, and push it if asked.

    Args:
        trainer (`~transformers.Trainer`): Has trained.
        dataset (`str`): What on.
    """
    arguments, directory = trainer.args, Path(trainer.args.output_dir)
    name = None if Path(dataset).is_dir() else dataset
    trainer.create_model_card(model_name=directory.name, dataset_name=name, tags=["tree-cot"])
    if arguments.push_to_hub and trainer.is_world_process_zero():
        published = push_model(directory, trainer.hub_model_id, revision=arguments.hub_revision or "main")
        print(f"The model is at {published.url}")
    if is_peft_model(trainer.model) and trainer.is_world_process_zero():  # the next stage trains an adapter of its own
        merged = AutoPeftModelForCausalLM.from_pretrained(directory, dtype="auto").merge_and_unload()
        merged.save_pretrained(directory / "merged")
        trainer.processing_class.save_pretrained(directory / "merged")
    trainer.accelerator.print(f"The model is in {arguments.output_dir}")
