"""What only a GPU can show; all of it is skipped where there is none."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_treecot.trainers import CDPOConfig, CDPOTrainer
from hf_treecot.trainers.tree_attention import FLEX, NAME

from . import pair_training, tiny_models
from .pair_training import loss_and_gradients, make


pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

DATA = tiny_models.token_pairs(4, 5)
# Flex attention's kernels want heads of at least 16 numbers.
WIDER = {**tiny_models.SHAPE, "hidden_size": 64, "head_dim": 16}


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch):
    settings = pair_training.settings
    monkeypatch.setattr(tiny_models, "SHAPE", WIDER)
    monkeypatch.setattr(pair_training, "settings", lambda *a, **k: settings(*a, **{"use_cpu": False, **k}))


def trainer_of(path, tmp_path, attention):
    """Its rows are padded, or packed with one of the two kinds of attention that know trees."""
    if attention is None:
        return make(CDPOTrainer, path, tmp_path, data=DATA, tree_packing="off")
    asked = "flex_attention" if attention == FLEX else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=asked)
    trainer = make(
        CDPOTrainer, path, tmp_path, data=DATA, model=model, reference_attention=asked, tree_packing="on"
    )  # fmt: skip
    assert trainer.model.config._attn_implementation == trainer.ref_model.config._attn_implementation == attention
    return trainer


def scored(trainer, dtype):
    """The loss, and all gradients as one."""
    assert next(trainer.model.parameters()).is_cuda
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: trainer._prepare_inputs(collate(rows))
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        loss, gradients, _ = loss_and_gradients(trainer)
    return float(loss), torch.cat([gradients[name].flatten() for name in sorted(gradients)])


def off(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("attention", [NAME, FLEX])
@pytest.mark.parametrize("family", list(tiny_models.CONFIGS))
def test_packed_rows_have_the_loss_and_gradients_of_padded_rows(tmp_path, family, attention):
    path = tiny_models.save_tiny(tmp_path / "model", family)
    loss, gradients = scored(trainer_of(path, tmp_path, None), torch.float32)
    packed_loss, packed_gradients = scored(trainer_of(path, tmp_path, attention), torch.float32)
    assert packed_loss == pytest.approx(loss, rel=1e-5)
    assert off(packed_gradients, gradients) < 1e-4
    # In half precision they differ from these no more than padded rows do.
    half_loss, half_gradients = scored(trainer_of(path, tmp_path, None), torch.bfloat16)
    packed_loss, packed_gradients = scored(trainer_of(path, tmp_path, attention), torch.bfloat16)
    print(family, attention, abs(half_loss - loss), abs(packed_loss - loss), off(half_gradients, gradients),
          off(packed_gradients, gradients))  # fmt: skip
    assert abs(packed_loss - loss) < 2 * abs(half_loss - loss) + 0.01 * loss
    assert off(packed_gradients, gradients) < 2 * off(half_gradients, gradients)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_model_given_by_name_trains_with_packing_and_its_loss_falls(tmp_path, bf16):
    """The trainer chooses the attention."""
    path = tiny_models.save_tiny(tmp_path / "model", "qwen2")
    arguments = CDPOConfig(
        **pair_training.settings(
            tmp_path, bf16=bf16, max_steps=12, per_device_train_batch_size=8, gradient_checkpointing=True
        )
    )
    trainer = CDPOTrainer(
        path, args=arguments, train_dataset=tiny_models.token_pairs(12, 4),
        processing_class=tiny_models.tiny_tokenizer(),
    )  # fmt: skip
    assert trainer.is_packing
    assert trainer.model.config._attn_implementation == FLEX
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert losses[-1] < losses[0]
