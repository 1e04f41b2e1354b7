import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PromptTuningConfig
from transformers import AutoModelForCausalLM, MixtralConfig
from trl import DPOConfig, DPOTrainer

from hf_treecot.errors import InvalidInputError
from hf_treecot.trainers import CDPOConfig, CDPOTrainer, JointSFTDPOConfig, JointSFTDPOTrainer, REDITrainer
from hf_treecot.trainers.losses import preference_loss
from hf_treecot.trainers.preference_data import check_rows

from .pair_training import (
    BATCHES,
    log_probs,
    loss_and_gradients,
    make,
    pair,
    settings,
)
from .tiny_models import CONFIGS, SHAPE, save_tiny, text_pairs, tiny_tokenizer, token_pairs


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("beta", [0.1, 0.5])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_the_loss_in_closed_form(epsilon, beta, alpha):
    values = [-7.0, -0.3, 0.0, 2.5, 40.0]
    delta = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    nll = torch.tensor([0.1, 2.0, 3.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    losses = preference_loss(delta, nll, beta, epsilon, alpha)
    losses.sum().backward(inputs=[delta] + [nll] * (alpha > 0))
    for i, value in enumerate(values):
        p = 1 / (1 + math.exp(-beta * value))
        right, wrong = math.log1p(math.exp(-beta * value)), math.log1p(math.exp(beta * value))
        expected = (1 - epsilon) * right + epsilon * wrong + alpha * nll[i].item()
        assert losses[i].item() == pytest.approx(expected, abs=1e-12)
        assert delta.grad[i].item() == pytest.approx(beta * (p - (1 - epsilon)), abs=1e-12)
    if alpha:
        assert torch.equal(nll.grad, torch.full_like(nll, alpha))


@pytest.mark.parametrize("trainer_class", [CDPOTrainer, JointSFTDPOTrainer])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_both_trainers_against_log_probabilities_worked_out_row_by_row(paths, tmp_path, trainer_class, epsilon, alpha):
    if trainer_class is CDPOTrainer and alpha:
        pytest.skip("CDPOTrainer has no SFT term")
    changes = {"alpha": alpha} if trainer_class is JointSFTDPOTrainer else {}
    trainer = make(trainer_class, paths["qwen2"], tmp_path, dtype=torch.float64, epsilon=epsilon, beta=0.3, **changes)
    loss, gradients, _ = loss_and_gradients(trainer)

    policy, reference = trainer.model, trainer.ref_model
    policy.zero_grad()
    total = 0
    for row in trainer.train_dataset:
        chosen, rejected = (log_probs(policy, row["prompt_ids"], row[f"{k}_ids"]) for k in ("chosen", "rejected"))
        with torch.no_grad():
            ref = [log_probs(reference, row["prompt_ids"], row[f"{k}_ids"]).sum() for k in ("chosen", "rejected")]
        p = torch.sigmoid(0.3 * ((chosen.sum() - ref[0]) - (rejected.sum() - ref[1])))
        total = total - (1 - epsilon) * p.log() - epsilon * (1 - p).log() - alpha * chosen.mean()
    expected = total / len(trainer.train_dataset)
    expected.backward()
    # TRL's fused head gives log-probabilities in float32, whatever the model is in.
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=1e-5, atol=1e-5)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-5, atol=1e-6)


def test_without_noise_and_sft_it_is_trls_dpo_to_the_bit(paths, tmp_path):
    plain = {"mask_shared_prefix": False, "tree_packing": "off", "epsilon": 0.0}
    trainers = [
        make(DPOTrainer, paths["llama"], tmp_path, text_pairs()),
        make(CDPOTrainer, paths["llama"], tmp_path, text_pairs(), **plain),
        make(JointSFTDPOTrainer, paths["llama"], tmp_path, text_pairs(), alpha=0.0, **plain),
    ]
    for trainer in trainers:
        trainer.train()
    losses = [[log["loss"] for log in t.state.log_history if "loss" in log] for t in trainers]
    assert len(losses[0]) == 3
    assert losses[0] == losses[1] == losses[2]
    for other in trainers[1:]:
        for a, b in zip(trainers[0].model.parameters(), other.model.parameters(), strict=True):
            assert torch.equal(a, b)
    shared = set(trainers[0].state.log_history[0]) & set(trainers[1].state.log_history[0])
    assert {"rewards/chosen", "rewards/margins", "logps/chosen", "logits/rejected", "entropy"} <= shared
    for name in shared - {"grad_norm"}:
        a, b = (t.state.log_history[2][name] for t in trainers[:2])
        assert a == pytest.approx(b, rel=1e-5)


def test_the_shared_prefix_cancels(paths, tmp_path):
    # Δ = (chosen − reference) − (rejected − reference), and both sides hold the same terms for the tokens they share.
    results = [
        loss_and_gradients(make(CDPOTrainer, paths["qwen3"], tmp_path, mask_shared_prefix=mask, dtype=torch.float64))
        for mask in (True, False)
    ]
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-7, atol=1e-7)
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name], rtol=1e-5, atol=1e-6)
    masked, whole = results[0][2], results[1][2]
    assert masked["shared_prefix_share"] > 0.1
    assert masked["rewards/margins"] == pytest.approx(whole["rewards/margins"], abs=1e-6)
    assert masked["rewards/chosen"] != pytest.approx(whole["rewards/chosen"], abs=1e-3)


def test_masking_the_sft_term_changes_it(paths, tmp_path):
    results = [
        loss_and_gradients(make(JointSFTDPOTrainer, paths["llama"], tmp_path, mask_sft_prefix=mask))[2]
        for mask in (True, False)
    ]
    assert results[0]["sft_loss"] != pytest.approx(results[1]["sft_loss"], rel=1e-3)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("family", CONFIGS)
def test_packed_is_padded(paths, tmp_path, family, lora):
    peft_config = LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False) if lora else None
    trainers = [
        make(JointSFTDPOTrainer, paths[family], tmp_path, tree_packing=packing, peft_config=peft_config)
        for packing in ("on", "off")
    ]
    assert [trainer.is_packing for trainer in trainers] == [True, False]
    trainers[1].model.load_state_dict(trainers[0].model.state_dict())
    for name, rows in BATCHES.items():
        (loss, gradients, metrics), (expected, expected_gradients, others) = (
            loss_and_gradients(trainer, rows) for trainer in trainers
        )
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5, msg=name)
        for parameter, gradient in expected_gradients.items():
            torch.testing.assert_close(gradients[parameter], gradient, rtol=1e-3, atol=1e-4, msg=f"{name} {parameter}")
        for metric in set(metrics) - {"packing_ratio", "num_tokens"}:
            assert metrics[metric] == pytest.approx(others[metric], rel=1e-4, abs=1e-4), (name, metric)
        assert metrics["packing_ratio"] > 1 == others["packing_ratio"]


def test_precomputed_references_are_those_of_the_batch(paths, tmp_path):
    results = {}
    for mask in (True, False):
        for precompute in (True, False):
            trainer = make(
                CDPOTrainer, paths["llama"], tmp_path, precompute_ref_log_probs=precompute, mask_shared_prefix=mask
            )
            results[mask, precompute] = loss_and_gradients(trainer)
        torch.testing.assert_close(results[mask, True][0], results[mask, False][0])
        assert results[mask, True][2]["rewards/chosen"] == pytest.approx(
            results[mask, False][2]["rewards/chosen"], abs=1e-5
        )


def test_pairs_count_equally_however_they_are_gathered(paths, tmp_path):
    """One optimizer step over all pairs: in one batch, and in small batches of unequal size."""
    weights = []
    data = token_pairs(2, 4)
    for changes in (
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 4},
        {"per_device_train_batch_size": 8, "max_tokens_per_batch": 40, "gradient_accumulation_steps": 8},
    ):
        trainer = make(
            JointSFTDPOTrainer, paths["llama"], tmp_path, data=data, max_steps=-1, num_train_epochs=1, **changes
        )
        trainer.train()
        assert trainer.state.global_step == 1
        weights.append([parameter.detach().clone() for parameter in trainer.model.parameters()])
    for others in weights[1:]:
        for a, b in zip(weights[0], others, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_and_evaluation(paths, tmp_path):
    results = []
    for checkpointing in (True, False):
        trainer = make(JointSFTDPOTrainer, paths["qwen3"], tmp_path, gradient_checkpointing=checkpointing)
        if checkpointing:  # as `train` does
            trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
        assert trainer.model.is_gradient_checkpointing is checkpointing
        results.append(loss_and_gradients(trainer))
    torch.testing.assert_close(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name])
    trainer = make(JointSFTDPOTrainer, paths["llama"], tmp_path)
    padded = make(JointSFTDPOTrainer, paths["llama"], tmp_path, tree_packing="off")
    metrics, expected = trainer.evaluate(token_pairs(seed=5)), padded.evaluate(token_pairs(seed=5))
    assert metrics["eval_loss"] == pytest.approx(expected["eval_loss"], rel=1e-4)
    assert metrics["eval_rewards/margins"] == pytest.approx(expected["eval_rewards/margins"], rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha draws noise"),
        ({"accelerator_config": {"split_batches": True}}, "split_batches and dispatch_batches cut batches"),
    ],
)
def test_options_that_packing_would_change_rule_it_out(paths, tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        make(CDPOTrainer, paths["llama"], tmp_path, tree_packing="on", **changes)


def test_batches_of_an_evaluation_stay_within_the_tokens_of_a_batch(paths, tmp_path, monkeypatch):
    sizes = []
    score = CDPOTrainer.score

    def counting(self, model, inputs, *args, **kwargs):
        sizes.append(int(inputs["tree_size"]))
        return score(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(CDPOTrainer, "score", counting)
    losses = []
    for limit in (None, 100):
        settings = {"max_tokens_per_batch": limit, "precompute_ref_log_probs": True, "per_device_eval_batch_size": 12}
        trainer = make(CDPOTrainer, paths["llama"], tmp_path, token_pairs(3, 4), **settings)
        sizes.clear()
        losses.append(trainer.evaluate(token_pairs(3, 4, seed=5))["eval_loss"])
        assert (max(sizes) <= 100) == (limit is not None)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_rows_longer_than_the_context_are_refused(paths, tmp_path):
    row = {"prompt_ids": [20] * 200, "chosen_ids": [21] * 60, "rejected_ids": [22]}
    with pytest.raises(InvalidInputError, match="longest row has 260 tokens, and the model was made for 256"):
        make(CDPOTrainer, paths["llama"], tmp_path, data=Dataset.from_list([row]))
    make(CDPOTrainer, paths["llama"], tmp_path, data=Dataset.from_list([row]), max_length=256, max_truncated_share=1.0)


def test_a_stream_that_evaluate_is_given_has_the_loss_of_its_rows(paths, tmp_path):
    trainer = make(CDPOTrainer, paths["llama"], tmp_path, per_device_eval_batch_size=3)
    rows = token_pairs(3, 4, seed=5)
    losses = [trainer.evaluate(data)["eval_loss"] for data in (rows, rows.to_iterable_dataset())]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_reference_that_is_no_number_names_the_pair(paths, tmp_path):
    trainer = make(CDPOTrainer, paths["llama"], tmp_path)
    next(trainer.ref_model.parameters()).data[30] = float("nan")
    with pytest.raises(InvalidInputError, match="log-probabilities of a pair are not finite, of the one that begins"):
        trainer.train()


def test_models_that_cannot_be_packed(paths, tmp_path, transformers_log):
    tuning = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(InvalidInputError, match="tree_packing='on' is not possible: prompt-learning PEFT"):
        make(CDPOTrainer, paths["llama"], tmp_path, peft_config=tuning, tree_packing="on")
    trainer = make(CDPOTrainer, paths["llama"], tmp_path, peft_config=tuning)
    assert not trainer.is_packing
    trainer.train()
    assert transformers_log().count("Tree packing is off") == 1
    assert all(math.isfinite(log["loss"]) for log in trainer.state.log_history if "loss" in log)


@pytest.mark.parametrize(
    ("config_class", "changes", "message"),
    [
        (CDPOConfig, {"epsilon": 0.5}, "epsilon=0.5 is out of range"),
        (CDPOConfig, {"epsilon": -0.1}, "epsilon=-0.1 is out of range"),
        (JointSFTDPOConfig, {"alpha": -1.0}, "alpha=-1.0 is out of range"),
        (CDPOConfig, {"tree_packing": "yes"}, "tree_packing='yes' is unknown"),
        (CDPOConfig, {"max_tokens_per_batch": 0}, "max_tokens_per_batch=0"),
        (CDPOConfig, {"max_truncated_share": 2.0}, "max_truncated_share=2.0"),
        (
            CDPOConfig,
            {"loss_type": ["ipo"]},
            "would be ignored: each loss has a trainer of its own",
        ),
        (CDPOConfig, {"label_smoothing": 0.1}, "label_smoothing=0.1 would be ignored: use epsilon"),
        (CDPOConfig, {"label_smoothing_factor": 0.1}, "label_smoothing_factor=0.1 would be ignored: .*epsilon"),
        (CDPOConfig, {"include_for_metrics": ["loss"]}, "would be ignored: no logits are built"),
        (CDPOConfig, {"batch_eval_metrics": True}, "would be ignored: no logits are built"),
        (CDPOConfig, {"ld_alpha": 0.5}, "ld_alpha=0.5 would be ignored"),
        (CDPOConfig, {"use_weighting": True}, "use_weighting=True would be ignored"),
        (CDPOConfig, {"padding_free": True}, "padding_free=True would be ignored"),
        (CDPOConfig, {"f_divergence_type": "js_divergence"}, "f_divergence_type='js_divergence' would be ignored"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, config_class, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        config_class(**settings(tmp_path, **changes))


def test_a_trainer_needs_its_own_config(paths, tmp_path):
    with pytest.raises(InvalidInputError, match="args is a DPOConfig: CDPOTrainer needs a CDPOConfig"):
        CDPOTrainer(paths["llama"], args=DPOConfig(**settings(tmp_path)), train_dataset=token_pairs())


def messages(role, text):
    return [{"role": role, "content": text}]


GOOD = {
    "prompt": messages("user", "how many"),
    "chosen": messages("assistant", "two"),
    "rejected": messages("assistant", "three"),
}


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ([], {}, "the train dataset is empty"),
        ([{"prompt": "a", "chosen": "b"}], {}, "has no column 'rejected'"),
        ([{**GOOD, "prompt": "how many"}], {}, "row 0 of the train dataset mixes schemas"),
        ([GOOD, {**GOOD, "chosen": messages("assistant", " ")}], {}, "row 1 of the train dataset has an empty chosen"),
        ([{**GOOD, "rejected": GOOD["chosen"]}], {}, "row 0 .* has the same text as chosen and as rejected"),
        ([GOOD], {"max_length": 4}, "max_length=4: the prompt alone fills it in 1 of 1 rows"),
        ([GOOD], {"max_length": 13}, "max_length=13 would cut 1 of 1 rows"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(paths, tmp_path, rows, changes, message):
    data = Dataset.from_list(rows)
    with pytest.raises(InvalidInputError, match=message):
        make(CDPOTrainer, paths["llama"], tmp_path, data=data, **changes)


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        (pair([20, 21, 22], [23], [24]), {"max_length": 3}, "the prompt alone fills it in 1 of 1 rows"),
        (pair([20], [21, 22], [21, 22]), {}, "row 0 .* the same tokens"),
        (pair([20], [21, 22, 23], [21, 22, 24]), {"max_length": 3, "max_truncated_share": 1.0}, "the same tokens"),
        (pair([20], [], [21]), {}, "row 0 of the train dataset has an empty answer"),
    ],
)
def test_tokenized_rows_are_checked_too(paths, tmp_path, row, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        make(CDPOTrainer, paths["llama"], tmp_path, data=Dataset.from_list([row]), **changes)


def test_rows_that_are_cut_are_counted(paths, tmp_path, transformers_log):
    make(CDPOTrainer, paths["llama"], tmp_path, Dataset.from_list([GOOD] * 3), max_length=15, max_truncated_share=1.0)
    assert "3 of 3 rows of the train dataset are cut at max_length=15." in transformers_log()


def test_answers_that_call_tools_are_not_empty():
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}
    check_rows(Dataset.from_list([{**GOOD, "chosen": [call]}]), "train")


def test_a_reference_of_another_attention_is_packed_alike(paths, tmp_path):
    losses = [
        loss_and_gradients(make(CDPOTrainer, paths["llama"], tmp_path, reference_attention="eager", tree_packing=how))[
            0
        ]
        for how in ("off", "on")
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)


def test_the_routers_loss_of_a_mixture_of_experts_is_that_of_trl(paths, tmp_path):
    config = MixtralConfig(
        **SHAPE, vocab_size=len(tiny_tokenizer()), num_local_experts=2, num_experts_per_tok=1, initializer_range=0.3
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "experts")
    losses = []
    for trainer_class in (DPOTrainer, CDPOTrainer):
        more = {} if trainer_class is DPOTrainer else {"epsilon": 0.0}
        trainer = make(trainer_class, tmp_path / "experts", tmp_path, text_pairs(), router_aux_loss_coef=0.5, **more)
        loss, _, metrics = loss_and_gradients(trainer)
        assert metrics["aux_loss"] > 0
        losses.append(loss)
    torch.testing.assert_close(losses[0], losses[1])
    assert not trainer.is_packing
    assert make(CDPOTrainer, tmp_path / "experts", tmp_path, router_aux_loss_coef=0.0).is_packing


def test_streams_train_and_evaluate(paths, tmp_path):
    data = token_pairs()
    one_batch = {
        "per_device_eval_batch_size": 12
    }  # transformers weighs several in another way if it knows their number
    expected = make(CDPOTrainer, paths["llama"], tmp_path, **one_batch).evaluate(data)
    trainer = make(CDPOTrainer, paths["llama"], tmp_path, data=data.to_iterable_dataset(), **one_batch)
    assert trainer.evaluate(data.to_iterable_dataset())["eval_loss"] == pytest.approx(expected["eval_loss"], rel=1e-4)
    trainer.train()
    assert trainer.state.global_step == 3
    assert math.isfinite(trainer.predict(data).metrics["test_loss"])


@pytest.mark.parametrize("trainer_class", [CDPOTrainer, JointSFTDPOTrainer, REDITrainer])
def test_arguments_may_be_given_in_the_order_of_trl(tmp_path, trainer_class):
    path = save_tiny(tmp_path / "model")
    model, tokenizer, data = AutoModelForCausalLM.from_pretrained(path), tiny_tokenizer(), token_pairs()
    arguments = trainer_class.config_class(**settings(tmp_path))
    trainer = trainer_class(model, None, arguments, None, data, data.select([0]), tokenizer)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (len(data), 1)
    assert trainer.processing_class is tokenizer
    with pytest.raises(TypeError, match="train_dataset"):
        trainer_class(model, None, arguments, None, data, train_dataset=data)


def test_a_model_is_tagged_as_of_dpo_too():
    assert {"trl", "dpo", "cdpo"} <= set(CDPOTrainer.tags) & set(JointSFTDPOTrainer.tags)
