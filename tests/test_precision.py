"""Weights in which fine-tuning would silently do nothing."""

import pytest
import torch
import yaml
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from hf_treecot.cli.packaged import CONFIGS
from hf_treecot.errors import InvalidInputError
from hf_treecot.trainers import CDPOTrainer, JointSFTDPOTrainer, REDITrainer

from .pair_training import make
from .tiny_models import save_tiny, token_pairs


@pytest.mark.parametrize("trainer_class", [CDPOTrainer, REDITrainer])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_weights_are_refused_with_the_remedy(tmp_path, trainer_class, dtype):
    path = save_tiny(tmp_path / "model")
    with pytest.raises(InvalidInputError, match=f"{str(dtype)[6:]}.*dtype=float32.*bf16=true"):
        make(trainer_class, path, tmp_path, dtype=dtype)


def test_adapters_of_a_half_model_are_trained(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(save_tiny(tmp_path / "model"), dtype=torch.bfloat16)
    make(CDPOTrainer, None, tmp_path, model=model, peft_config=LoraConfig(task_type="CAUSAL_LM", r=2))


def test_a_training_by_the_settings_of_a_recipe_moves_the_weights(tmp_path):
    """In bfloat16, which is refused, 1.5 % of the weights of such a run changed."""
    recipe = yaml.safe_load((CONFIGS / "joint" / "qwen2.5-1.5b.yaml").read_text())
    names = (
        "bf16", "gradient_checkpointing", "learning_rate", "lr_scheduler_type", "warmup_steps", "beta", "epsilon",
        "alpha", "max_tokens_per_batch", "per_device_train_batch_size", "gradient_accumulation_steps",
    )  # fmt: skip
    path = save_tiny(tmp_path / "model")
    data = token_pairs(4, 4)  # one optimizer step an epoch
    trainer = make(
        JointSFTDPOTrainer, path, tmp_path, data, dtype=getattr(torch, recipe["dtype"]), max_steps=30,
        optim="adamw_torch", max_grad_norm=1.0,
        **{name: recipe[name] for name in names},
    )  # fmt: skip
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    trainer.train()
    pairs = list(zip(before, trainer.model.parameters(), strict=True))
    changed = sum(int((old != new).sum()) for old, new in pairs) / sum(old.numel() for old in before)
    assert changed > 0.7  # rows of the embedding whose tokens do not occur have no gradient
    model = AutoModelForCausalLM.from_pretrained(path)
    losses = []
    for weights in (before, list(trainer.model.parameters())):
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.data.copy_(weight.data)
        losses.append(make(JointSFTDPOTrainer, path, tmp_path, data, model=model).evaluate(data)["eval_loss"])
    assert losses[1] < losses[0]


@pytest.mark.parametrize("stage", ["sft", "cdpo", "joint", "redi", "advantage", "value"])
def test_recipes_with_all_weights_hold_them_in_float32(stage):
    settings = [yaml.safe_load(path.read_text()) for path in (CONFIGS / stage).glob("*.yaml")]
    full = [s for s in settings if not s.get("use_peft") and s["bf16"]]
    assert full
    assert all(s["dtype"] == "float32" for s in full)
