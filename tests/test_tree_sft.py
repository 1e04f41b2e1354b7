"""SFT on trees: the losses and gradients of TRL's SFTTrainer on the same rows, for their unique tokens."""

import random

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from hf_treecot.errors import InvalidInputError
from hf_treecot.trainers import TreeSFTConfig, TreeSFTTrainer
from hf_treecot.trainers.tree_attention import NAME

from .tiny_models import save_tiny, tiny_tokenizer


FIGURES = ("entropy", "mean_token_accuracy", "grad_norm")


def chains(num_trees=2, chains_of_a_tree=4):
    """Texts that share beginnings of many lengths."""
    rng = random.Random(0)
    rows = []
    for tree in range(num_trees):
        texts = [""]
        while len(texts) <= chains_of_a_tree:
            stem = rng.choice(texts)
            texts.append(stem[: rng.randint(0, len(stem))] + "".join(rng.choices("abcdef ", k=rng.randint(8, 20))))
        rows += [
            {
                "prompt": [{"role": "user", "content": f"Question {tree}?"}],
                "completion": [{"role": "assistant", "content": text}],
            }
            for text in texts[1:]
        ]
    return Dataset.from_list(rows)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model"))


def make(trainer_class, path, output_dir, data=None, dtype=torch.float32, peft_config=None, **changes):
    config_class = SFTConfig if trainer_class is SFTTrainer else TreeSFTConfig
    defaults = {
        "output_dir": str(output_dir), "per_device_train_batch_size": 8, "learning_rate": 1e-2, "max_steps": 4,
        "report_to": "none", "bf16": False, "use_cpu": True, "disable_tqdm": True, "logging_steps": 1,
        "save_strategy": "no", "gradient_checkpointing": False,
    }  # fmt: skip
    return trainer_class(
        AutoModelForCausalLM.from_pretrained(path, dtype=dtype), args=config_class(**{**defaults, **changes}),
        train_dataset=chains() if data is None else data, processing_class=tiny_tokenizer(), peft_config=peft_config,
    )  # fmt: skip


def loss_and_gradients(trainer):
    trainer.model.eval()
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    gradients = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, inputs


@pytest.mark.parametrize("loss_type", ["nll", "dft"])
@pytest.mark.parametrize("adapters", [False, True])
def test_a_batch_has_the_loss_and_the_gradients_of_its_rows(path, tmp_path, loss_type, adapters):
    results = []
    for trainer_class in (SFTTrainer, TreeSFTTrainer):
        config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"]) if adapters else None
        torch.manual_seed(0)
        trainer = make(trainer_class, path, tmp_path, dtype=torch.float64, peft_config=config, loss_type=loss_type)
        results.append(loss_and_gradients(trainer))
    (loss, gradients, rows), (packed_loss, packed_gradients, packed) = results
    assert packed["tree_size"] < 0.8 * rows["attention_mask"].sum()
    torch.testing.assert_close(loss, packed_loss, rtol=1e-6, atol=0)  # norms compute in float32
    assert gradients.keys() == packed_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max())


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"bf16": True}])
def test_a_run_has_trls_losses_and_figures(path, tmp_path, changes):
    """All rows are one batch, so that both see the same."""
    logs = []
    for trainer_class in (SFTTrainer, TreeSFTTrainer):
        trainer = make(trainer_class, path, tmp_path, **changes)
        trainer.train()
        logs.append([log for log in trainer.state.log_history if "loss" in log])
    for ours, theirs in zip(logs[1], logs[0], strict=True):
        # In bfloat16 the likeliest of near ties is another one.
        names = ("loss", "num_tokens") if "bf16" in changes else ("loss", "num_tokens", *FIGURES)
        for name in names:
            assert ours[name] == pytest.approx(theirs[name], rel=5e-3 if "bf16" in changes else 1e-4), name
    assert len(logs[1]) == 4


def test_batches_of_an_optimizer_step_weigh_tokens_alike(path, tmp_path):
    results = []
    for size in (8, 2):
        trainer = make(
            TreeSFTTrainer, path, tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=8 // size,
            max_steps=1, max_tokens_per_batch=None,
        )  # fmt: skip
        trainer.train()
        results.append(trainer.state.log_history[0])
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)
    assert results[0]["grad_norm"] == pytest.approx(results[1]["grad_norm"], rel=1e-4)


def test_an_evaluation_has_the_loss_of_rows(path, tmp_path):
    losses = []
    for packing in ("on", "off"):
        trainer = make(TreeSFTTrainer, path, tmp_path, tree_packing=packing)
        assert trainer.is_packing == (packing == "on")
        losses.append(trainer.evaluate(chains(3, 3))["eval_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_chains_of_a_tree_share_a_batch(path, tmp_path):
    trainer = make(TreeSFTTrainer, path, tmp_path, data=chains(6, 4), per_device_train_batch_size=4)
    for batch in trainer.get_train_dataloader():
        prompts = batch["input_ids"].masked_fill(batch["labels"] != -100, 0) * batch["attention_mask"]
        assert len({tuple(row.tolist()) for row in prompts}) == 1
    assert trainer.model.config._attn_implementation == NAME


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packing": True, "max_length": 64}, "TRL's own packing is on"),
        ({"label_smoothing_factor": 0.1}, "label smoothing"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha draws noise"),
        ({"accelerator_config": {"dispatch_batches": True}}, "cut batches into slices"),
        ({"train_sampling_strategy": "sequential"}, "is not that of trees"),
    ],
)
def test_what_rules_packing_out_is_said(path, tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        make(TreeSFTTrainer, path, tmp_path, tree_packing="on", **changes)
    assert not make(TreeSFTTrainer, path, tmp_path, **changes).is_packing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tree_packing": "maybe"}, "tree_packing='maybe' is unknown"),
        ({"max_tokens_per_batch": 0}, "must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        TreeSFTConfig(str(tmp_path), use_cpu=True, bf16=False, **changes)


def test_another_configuration_is_refused(path, tmp_path):
    with pytest.raises(InvalidInputError, match="needs a TreeSFTConfig"):
        TreeSFTTrainer(path, args=SFTConfig(str(tmp_path), use_cpu=True, bf16=False))
