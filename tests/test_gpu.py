"""What only a GPU can show; all of it is skipped where there is none."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_treecot.trainers import CDPOTrainer

from . import pair_training, tiny_models
from .pair_training import loss_and_gradients, make


pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

# Flex attention's kernels want heads of at least 16 numbers.
WIDER = {**tiny_models.SHAPE, "hidden_size": 64, "head_dim": 16}


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch):
    settings = pair_training.settings
    monkeypatch.setattr(tiny_models, "SHAPE", WIDER)
    monkeypatch.setattr(pair_training, "settings", lambda *a, **k: settings(*a, **{"use_cpu": False, **k}))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-12))


@pytest.mark.parametrize("attention", ["tree_blocks", "flex_attention"])
@pytest.mark.parametrize("family", list(tiny_models.CONFIGS))
def test_packed_rows_have_the_loss_and_gradients_of_padded_rows(tmp_path, family, attention):
    path = tiny_models.save_tiny(tmp_path / "model", family)
    data = tiny_models.token_pairs(4, 5)
    kind = None if attention == "tree_blocks" else attention
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=kind)
    padded = make(CDPOTrainer, path, tmp_path, data=data, tree_packing="off")
    packed = make(
        CDPOTrainer, path, tmp_path, data=data, model=model, reference_attention=kind, tree_packing="on"
    )  # fmt: skip
    assert packed.model.config._attn_implementation == attention
    assert next(packed.model.parameters()).is_cuda
    found = []
    for trainer in (padded, packed):
        trainer.ref_model.to("cuda")
        trainer.data_collator = _on("cuda", trainer.data_collator)
        found.append(loss_and_gradients(trainer))
    (loss, gradients, metrics), (ours, our_gradients, our_metrics) = found
    assert float(ours) == pytest.approx(float(loss), rel=1e-5)
    assert our_metrics["logps/chosen"] == pytest.approx(metrics["logps/chosen"], rel=1e-5)
    assert max(relative(our_gradients[name], gradient) for name, gradient in gradients.items()) < 1e-4


def _on(device, collate):
    def moved(rows):
        return {
            key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in collate(rows).items()
        }

    return moved


@pytest.mark.parametrize("bf16", [False, True])
def test_a_model_given_by_name_trains_with_packing_and_its_loss_falls(tmp_path, bf16):
    """The trainer chooses the attention."""
    path = tiny_models.save_tiny(tmp_path / "model", "qwen2")
    trainer = make(
        CDPOTrainer, path, tmp_path, data=tiny_models.token_pairs(12, 4), model=path, bf16=bf16, max_steps=12,
        per_device_train_batch_size=8, gradient_checkpointing=True,
    )  # fmt: skip
    assert trainer.is_packing
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert losses[-1] < losses[0]
