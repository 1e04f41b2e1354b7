"""The starter model: its weights come with the package; any other recipe is trained from scratch, and kept.

The number of steps is fixed, not the time: the same recipe, library versions and kind of processor give the same
weights. On another kind of processor the last bits differ, and so may what is learnt: hence weights that are shipped.
This module knows nothing of searches.
"""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from ..domains import arithmetic, blocks, letters
from ..errors import InvalidInputError
from ..files import cache_directory, write_atomically
from ..mcts.pattern import Pattern, available_patterns, load_pattern
from .chains import Segment, write_chain
from .drills import DRILLS
from .tokenizer import CHAT_TEMPLATE


WEIGHTS = Path(__file__).parent / "weights"
SHARE_OF_DRILLS_LATER = 0.2  # so that they are not forgotten
SHARES_OF_TASKS = {letters: 0.45, arithmetic: 0.3, blocks: 0.25}  # letters are the hardest


@dataclass(frozen=True)
class StarterRecipe:
    """
    Everything that the starter model's weights depend on.

    Args:
        seed (`int`): Seed of the data, of the initial weights and of the order of the examples.
        num_steps (`int`): Optimiser steps.
        num_drill_steps (`int`): How many of them come first and are drills.
        batch_size (`int`): Examples a step. Small batches are decisive at this size.
        learning_rate (`float`): Peak learning rate (AdamW, 50 steps of warm-up, cosine to 5 %).
        hidden_size, num_layers, num_heads, intermediate_size (`int`): Shape of the Llama model.
        num_threads (`int`): Threads that torch trains with: part of the recipe, since sums depend on it.
        max_length (`int`): The longest sequence that the model takes, in tokens.

    Raises:
        InvalidInputError: A number of steps is out of range.
    """

    seed: int = 0
    num_steps: int = 20_000
    num_drill_steps: int = 6_000
    batch_size: int = 8
    learning_rate: float = 1.5e-3
    hidden_size: int = 128
    num_layers: int = 2
    num_heads: int = 4
    intermediate_size: int = 384
    num_threads: int = 1
    max_length: int = 1024

    def __post_init__(self):
        if self.num_steps < 1:
            raise InvalidInputError(f"num_steps={self.num_steps} is out of range: it must be at least 1")
        if self.num_drill_steps < 0:
            raise InvalidInputError(f"num_drill_steps={self.num_drill_steps} is out of range: it must be at least 0")


def training_examples(recipe: StarterRecipe, count: int) -> list[tuple[str, list[Segment]]]:
    """The first `count` examples of a recipe, as (prompt, segments of the completion)."""
    rng = random.Random(f"starter data {recipe.seed}")
    patterns = [load_pattern(name) for name in available_patterns()]
    examples: list[tuple[str, list[Segment]]] = []
    while len(examples) < count:
        if len(examples) < recipe.num_drill_steps * recipe.batch_size or rng.random() < SHARE_OF_DRILLS_LATER:
            examples.append(("", rng.choice(DRILLS)(rng)))
        else:
            task = rng.choices(list(SHARES_OF_TASKS), list(SHARES_OF_TASKS.values()))[0].random_task(rng)
            examples.append((task.prompt, write_chain(task, rng.choice(patterns), rng)))
    return examples


def recipe_hash(recipe: StarterRecipe) -> str:
    """A hash of the recipe and of the data that it makes, so that a change in either trains another model."""
    examples = training_examples(replace(recipe, num_drill_steps=20), 400)
    sample = [(prompt, [asdict(segment) for segment in segments]) for prompt, segments in examples]
    return hashlib.sha256(json.dumps([asdict(recipe), sample]).encode()).hexdigest()[:12]


def starter_model(recipe: StarterRecipe | None = None, directory: Path | None = None) -> Path:
    """
    The directory of the starter model; trains it first if its weights neither come with the package nor are there.

    Args:
        recipe ([`StarterRecipe`], *optional*): Defaults to the recipe that the project is tested with.
        directory (`Path`, *optional*): Where to train it, if not there yet. Defaults to the weights of the package,
            if they are of this recipe, and to [`cache_directory`] otherwise.

    Returns:
        `Path`: A directory that `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` take.
    """
    recipe = recipe or StarterRecipe()
    return find_or_train(f"starter-{recipe_hash(recipe)}", directory, partial(train_starter, recipe))


def shipped_weights(name: str) -> Path | None:
    """
    Where weights are that come with the package; None if it has none of this name.

    Raises:
        InvalidInputError: Some of them are missing.
    """
    path = WEIGHTS / name
    if not path.is_dir():
        return None
    for file in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        if not (path / file).is_file() or not (path / file).stat().st_size:
            raise InvalidInputError(
                f"the weights in {str(path)!r} are broken ({file} is missing or empty): reinstall hf-treecot, or "
                "train them again with treecot starter --train"
            )
    return path


def find_or_train(name: str, directory: Path | None, train: Callable[[Path], None]) -> Path:
    """
    A built-in model in its place, trained there once, however many processes ask for it.

    Args:
        name (`str`): What it is and the hash of its recipe.
        directory (`Path`, *optional*): Where it is, or goes. Default: the weights of the package, if it has them, and
            [`cache_directory`] otherwise.
        train (`Callable[[Path], None]`): Trains it into a directory, and goes on from what is there.
    """
    from filelock import FileLock

    if directory is None and (shipped := shipped_weights(name)):
        return shipped
    path = (directory or cache_directory()) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not (path / "config.json").is_file():
            unfinished = path.with_name(f"{path.name}.unfinished")
            train(unfinished)
            unfinished.rename(path)
        template = path / "chat_template.jinja"
        if template.read_text(encoding="utf-8") != CHAT_TEMPLATE:  # trained by an earlier version
            write_atomically(template, CHAT_TEMPLATE)
    return path


def train_starter(recipe: StarterRecipe, output_dir: Path) -> None:
    """
    Train the starter model; continues from the last checkpoint in `output_dir` if there is one.

    Args:
        recipe ([`StarterRecipe`]): What to train.
        output_dir (`Path`): Where the model and its tokenizer are saved.
    """
    from transformers import AutoModelForCausalLM

    examples = training_examples(recipe, recipe.num_steps * recipe.batch_size)
    tokenizer = _tokenizer(recipe, examples)
    config = _model_config(recipe, tokenizer)
    fit(lambda: AutoModelForCausalLM.from_config(config), tokenizer, examples, recipe, output_dir, asdict(recipe))


def fit(
    make_model: Callable, tokenizer, examples: list, recipe: StarterRecipe, output_dir: Path, record: dict
) -> None:
    """
    Train on examples, one pass; continues from the last checkpoint in `output_dir` if there is one.

    Args:
        make_model (`Callable`): Makes the model that training starts from, after the seed is set.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): Its tokenizer.
        examples (`list[tuple[str, list[Segment]]]`): As [`training_examples`] makes them.
        recipe ([`StarterRecipe`]): How: seed, steps, batches, learning rate, threads.
        output_dir (`Path`): Where the model and its tokenizer are saved.
        record (`dict`): What is written beside them as `recipe.json`.
    """
    import torch
    from transformers import AutoConfig, DataCollatorForSeq2Seq, Trainer, set_seed
    from transformers.trainer_utils import get_last_checkpoint

    checkpoints = output_dir / "checkpoints"
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.num_threads)
    try:
        set_seed(recipe.seed)
        trainer = Trainer(
            model=make_model(),
            args=_training_arguments(recipe, checkpoints),
            train_dataset=_encode(examples, tokenizer, recipe),
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
        )
        last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
        trainer.train(resume_from_checkpoint=last)
    finally:
        torch.set_num_threads(threads)
    trainer.model.to(torch.bfloat16).save_pretrained(output_dir)  # half the size
    config = AutoConfig.from_pretrained(output_dir)
    config.dtype = "float32"  # what it computes in: on CPUs bfloat16 is slower, and log-probabilities are coarse
    config.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    (output_dir / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")
    shutil.rmtree(checkpoints, ignore_errors=True)


def _tokenizer(recipe: StarterRecipe, examples: list[tuple[str, list[Segment]]]):
    from .tokenizer import build_tokenizer

    patterns: list[Pattern] = [load_pattern(name) for name in available_patterns()]
    specs = {spec.tag: spec for pattern in patterns for spec in pattern.thoughts.values()}
    tags = [tag for name in sorted(specs) for tag in (specs[name].opening, specs[name].closing)]
    texts = [prompt + "".join(s.text for s in segments) for prompt, segments in examples[-5000:]]
    return build_tokenizer(texts, tags, recipe.max_length)


def _model_config(recipe: StarterRecipe, tokenizer):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        num_key_value_heads=recipe.num_heads,
        max_position_embeddings=recipe.max_length,
        tie_word_embeddings=True,
        # The usual 0.02 is too small for a narrow model: attention then takes far more steps to find what to copy.
        initializer_range=recipe.hidden_size**-0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _training_arguments(recipe: StarterRecipe, directory: Path):
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(directory),
        max_steps=recipe.num_steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.05},
        warmup_steps=50,
        adam_beta2=0.98,
        weight_decay=0.05,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        logging_steps=200,
        save_steps=1000,
        save_total_limit=1,
        seed=recipe.seed,
        use_cpu=True,  # the same weights on every machine, with or without a GPU
        report_to="none",
    )


def _encode(examples: list[tuple[str, list[Segment]]], tokenizer, recipe: StarterRecipe):
    """Token ids, with labels only for the trained segments of the completion and the end of the turn."""
    from datasets import Dataset

    rows = []
    for prompt, segments in examples:
        messages = [{"role": "user", "content": prompt}]
        head = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) if prompt else ""
        text, trained = head, [False] * len(head)
        for segment in (*segments, Segment(tokenizer.eos_token, True)):
            text += segment.text
            trained += [segment.trained] * len(segment.text)
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        labels = [
            token if trained[end - 1] else -100
            for token, (_, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        ]
        rows.append({"input_ids": encoding["input_ids"], "labels": labels})
    return Dataset.from_list(_in_batches(rows, recipe))


def _in_batches(rows: list[dict], recipe: StarterRecipe) -> list[dict]:
    """Rows in batches of similar length, the batches of a stretch in random order."""
    rng = random.Random(f"starter order {recipe.seed}")
    group = 50 * recipe.batch_size
    ordered = []
    for start in range(0, len(rows), group):
        chunk = sorted(rows[start : start + group], key=lambda row: len(row["input_ids"]))
        batches = [chunk[i : i + recipe.batch_size] for i in range(0, len(chunk), recipe.batch_size)]
        rng.shuffle(batches)
        ordered += [row for batch in batches for row in batch]
    return ordered
