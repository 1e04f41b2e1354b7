import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from hf_treecot.errors import InvalidInputError
from hf_treecot.trainers import CDPOConfig, REDIConfig, REDITrainer
from hf_treecot.trainers.losses import redi_loss

from .pair_training import BATCHES, ENDS, log_probs, loss_and_gradients, make, settings
from .tiny_models import save_tiny, token_pairs


@pytest.mark.parametrize(
    ("config_class", "changes", "message"),
    [
        (REDIConfig, {"redi_alpha": 1.5}, "redi_alpha=1.5 is out of range"),
        (REDIConfig, {"redi_alpha": -0.1}, "redi_alpha=-0.1 is out of range"),
        (REDIConfig, {"beta": 0.2}, "beta=0.2 would be ignored: REDI weighs"),
        (REDIConfig, {"precompute_ref_log_probs": True}, "would be ignored: REDI has no reference"),
        (REDIConfig, {"sync_ref_model": True}, "would be ignored: REDI has no reference"),
        (REDIConfig, {"label_smoothing": 0.1}, "label_smoothing=0.1 would be ignored: REDI has no label noise"),
        (CDPOConfig, {"loss_type": "redi"}, "would be ignored: each loss has a trainer of its own"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, config_class, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        config_class(**settings(tmp_path, **changes))


def test_redi_in_closed_form():
    chosen = torch.tensor([-0.1, -3.0, -1.5], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([-0.2, -2.0, -9.0], dtype=torch.float64, requires_grad=True)
    losses = redi_loss(chosen, rejected, 0.8)
    losses.sum().backward()
    expected = torch.tensor([0.1 - 0.16, 3.0 - 1.6, 1.5 - 7.2], dtype=torch.float64)
    torch.testing.assert_close(losses.detach(), expected)
    assert chosen.grad.tolist() == [-1.0] * 3
    assert rejected.grad.tolist() == [0.8] * 3


@pytest.mark.parametrize("alpha", [0.0, 0.8])
@pytest.mark.parametrize("mask", [None, False, True])
def test_redi_against_log_probabilities_worked_out_row_by_row(paths, tmp_path, mask, alpha):
    data = Dataset.from_list([row for name in ("random tries", ENDS) for row in BATCHES[name]])
    trainer = make(
        REDITrainer, paths["llama"], tmp_path, data=data, dtype=torch.float64, redi_alpha=alpha,
        **({} if mask is None else {"mask_shared_prefix": mask}),
    )  # fmt: skip
    assert trainer.args.mask_shared_prefix is bool(mask)  # by default the source's whole answers
    loss, gradients, metrics = loss_and_gradients(trainer)
    policy = AutoModelForCausalLM.from_pretrained(paths["llama"], dtype=torch.float64)
    sides = {"chosen": [], "rejected": []}
    for row in data:
        both = [row["chosen_ids"], row["rejected_ids"]]
        shared = next((i for i, (a, b) in enumerate(zip(*both, strict=False)) if a != b), min(map(len, both)))
        for name, values in sides.items():
            logps = log_probs(policy, row["prompt_ids"], row[f"{name}_ids"])[shared if mask else 0 :]
            values.append(logps.mean() if len(logps) else logps.sum())  # nothing differs: it adds 0
    chosen, rejected = (torch.stack(values).mean() for values in sides.values())
    (-chosen + alpha * rejected).backward()
    torch.testing.assert_close(loss.double(), (-chosen + alpha * rejected).detach(), rtol=1e-5, atol=1e-5)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-5, atol=1e-6)
    assert metrics["redi/chosen"] == pytest.approx(chosen.item(), rel=1e-5)
    assert metrics["redi/rejected"] == pytest.approx(rejected.item(), rel=1e-5)
    assert not [name for name in metrics if name.startswith("rewards/")]


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("family", ["llama", "gemma3_sliding"])
def test_redi_packed_is_padded(paths, tmp_path, family, mask):
    trainers = [
        make(REDITrainer, paths[family], tmp_path, tree_packing=packing, mask_shared_prefix=mask)
        for packing in ("on", "off")
    ]
    for name, rows in BATCHES.items():
        (loss, gradients, metrics), (expected, others, padded) = (loss_and_gradients(t, rows) for t in trainers)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5, msg=name)
        for parameter, gradient in others.items():
            torch.testing.assert_close(gradients[parameter], gradient, rtol=1e-3, atol=1e-4, msg=f"{name} {parameter}")
        assert metrics["redi/margins"] == pytest.approx(padded["redi/margins"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_redi_forwards_and_holds_no_reference(paths, tmp_path, lora):
    peft_config = LoraConfig(task_type="CAUSAL_LM", r=4) if lora else None
    data = token_pairs()
    trainer = make(REDITrainer, paths["llama"], tmp_path, data, peft_config=peft_config)
    base = trainer.model.get_base_model() if lora else trainer.model
    forwards = []
    base.model.register_forward_hook(lambda *_: forwards.append(1))
    assert trainer.ref_model is None
    assert not trainer.args.precompute_ref_log_probs
    assert trainer.train_dataset.column_names == ["prompt_ids", "chosen_ids", "rejected_ids"]
    trainer.train()
    assert len(forwards) == trainer.state.global_step == 3
    forwards.clear()
    metrics = trainer.evaluate(token_pairs(1, 2, seed=5))
    assert len(forwards) == 1
    assert math.isfinite(metrics["eval_redi/margins"])


def test_redi_tells_the_sides_of_pairs_apart(paths, tmp_path):
    trainer = make(REDITrainer, paths["llama"], tmp_path, max_steps=8, learning_rate=0.1)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert logs[-1]["loss"] < logs[0]["loss"]
    assert logs[-1]["redi/margins"] > logs[0]["redi/margins"]


def test_redi_refuses_a_reference(paths, tmp_path):
    reference = AutoModelForCausalLM.from_pretrained(paths["llama"])
    with pytest.raises(InvalidInputError, match="ref_model is given, but REDI has no reference"):
        REDITrainer(paths["llama"], reference, REDIConfig(**settings(tmp_path)), train_dataset=token_pairs())


@pytest.mark.parametrize(
    ("mask", "counted"), [(False, "all tokens of an answer"), (True, "the prefix that both share")]
)
def test_the_card_says_its_own_loss(tmp_path, mask, counted):
    trainer = REDITrainer(
        save_tiny(tmp_path / "model"), train_dataset=token_pairs(),
        args=REDIConfig(**settings(tmp_path / "run", mask_shared_prefix=mask, max_steps=2)),
    )  # fmt: skip
    trainer.train()
    trainer.create_model_card("mine")
    card = (tmp_path / "run" / "README.md").read_text()
    fraction = "\\frac{\\log\\pi(\\text{%s})}{|\\text{%s}|}"
    assert f"$-{fraction % (('chosen',) * 2)} + 0.8 {fraction % (('rejected',) * 2)}$" in card
    for text in ("2505.24850", "xu2025harnessing", counted, "| redi/chosen |", "REDI on trees of thoughts"):
        assert text in card
    for text in ("sigma", "β", "rewards/", "cdpo"):
        assert text not in card
