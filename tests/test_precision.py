"""Weights in which fine-tuning would silently do nothing."""

import pytest
import torch
import yaml
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from hf_treecot.cli.packaged import CONFIGS
from hf_treecot.errors import InvalidInputError
from hf_treecot.trainers import CDPOTrainer, REDITrainer

from .pair_training import make
from .tiny_models import save_tiny


@pytest.mark.parametrize("trainer_class", [CDPOTrainer, REDITrainer])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_weights_are_refused_with_the_remedy(tmp_path, trainer_class, dtype):
    path = save_tiny(tmp_path / "model")
    with pytest.raises(InvalidInputError, match=f"{str(dtype)[6:]}.*dtype=float32.*bf16=true"):
        make(trainer_class, path, tmp_path, dtype=dtype)


def test_adapters_of_a_half_model_are_trained(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(save_tiny(tmp_path / "model"), dtype=torch.bfloat16)
    make(CDPOTrainer, None, tmp_path, model=model, peft_config=LoraConfig(task_type="CAUSAL_LM", r=2))


def test_why_steps_of_the_recipes_are_lost_in_bfloat16():
    """AdamW moves a weight by about the learning rate; bfloat16 has nothing between 0.02 and 0.02 + 1e-6."""
    moved = {}
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.nn.Parameter(torch.full((100,), 0.02, dtype=dtype))
        before = weight.detach().clone()
        optimizer = torch.optim.AdamW([weight], lr=1e-6)
        for _ in range(10):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        moved[dtype] = (weight.detach() != before).float().mean().item()
    assert moved == {torch.float32: 1.0, torch.bfloat16: 0.0}


@pytest.mark.parametrize("stage", ["sft", "cdpo", "joint", "redi"])
def test_recipes_with_all_weights_hold_them_in_float32(stage):
    settings = [yaml.safe_load(path.read_text()) for path in (CONFIGS / stage).glob("*.yaml")]
    full = [s for s in settings if not s.get("use_peft") and s["bf16"]]
    assert full
    assert all(s["dtype"] == "float32" for s in full)
