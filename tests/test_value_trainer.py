"""What a value model learns: labels by hand, the loss in closed form, packed trees as rows."""

import math

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForTokenClassification, LlamaConfig

from hf_treecot.engines.value_model import ValueModel
from hf_treecot.errors import InvalidInputError
from hf_treecot.selection.formats import FORMATS
from hf_treecot.selection.values import agreed, value_rows
from hf_treecot.testing.chat_templates import QWEN3, R1
from hf_treecot.trainers import ValueConfig, ValueTrainer
from hf_treecot.trainers.losses import value_loss
from hf_treecot.trainers.value import UNKNOWN, load_with_head, tokenize_values

from .test_steps import tree_by_hand
from .test_tree_advantage import grown_tree
from .thinking_templates import thinking_tokenizer
from .tiny_models import save_tiny, tiny_tokenizer


def test_the_values_of_a_tree_by_hand():
    tree = grown_tree()
    for node, total, tokens in ((1, -1.0, 2), (2, -2.0, 4), (3, -0.5, 1)):
        tree.nodes[node].log_probability, tree.nodes[node].tokens = total, tokens
    rows = list(value_rows(tree))
    # A thought counts once, in the first chain that it is in.
    assert [row["values"] for row in rows] == [[1 / 3, 1 / 2, 1.0], [None, None, 0.0], [None, 0.0]]
    assert rows[0]["log_probabilities"] == [-1 / 2, -3 / 6, -3.5 / 7]
    for row in rows:
        assert "".join(row["thoughts"]) == row["completion"][0]["content"]


def test_rows_without_corrections():
    assert [len(list(value_rows(tree_by_hand(), corrections=corrections))) for corrections in (True, False)] == [3, 2]


def test_values_that_a_critic_contradicts_are_left_out():
    rows = list(value_rows(grown_tree()))
    kept, count = agreed(rows, [[0.4, 0.6, 0.1], [0.9, 0.9, 0.9], [0.9, 0.1]])
    assert [row["values"] for row in kept] == [[1 / 3, None, 1.0], [None, None, 0.0], [None, 0.0]]
    assert count == 1  # 1/2 is no majority, and of answers a rule knows what they are worth
    assert rows[0]["values"][1] == 1 / 2  # these stay as they were


def test_the_loss_and_its_gradient_in_closed_form():
    logits = torch.tensor([0.0, 2.0, -3.0], dtype=torch.float64, requires_grad=True)
    values = torch.tensor([0.25, 1.0, 0.5], dtype=torch.float64)
    losses = value_loss(logits, values)
    sigmoid = [1 / (1 + math.exp(-z)) for z in (0.0, 2.0, -3.0)]
    expected = [-v * math.log(p) - (1 - v) * math.log(1 - p) for v, p in zip(values.tolist(), sigmoid, strict=True)]
    assert losses.tolist() == pytest.approx(expected, rel=1e-12)
    losses.sum().backward()
    gradient = [p - v for v, p in zip(values.tolist(), sigmoid, strict=True)]
    assert logits.grad.tolist() == pytest.approx(gradient, rel=1e-12)


@pytest.mark.parametrize("template", [QWEN3, R1])
@pytest.mark.parametrize("format", FORMATS)
def test_values_are_learnt_where_thoughts_end(template, format):
    tokenizer = thinking_tokenizer(template)
    row = list(value_rows(grown_tree(), format))[1]
    (tokens,) = tokenize_values(Dataset.from_list([row]), tokenizer, None)
    read = [tokenizer.decode(tokens["input_ids"][: place + 1]) for place in tokens["places"]]
    for text, thought in zip(read, row["thoughts"], strict=True):
        assert text.endswith(thought.rstrip().removesuffix("</think>").rstrip())
    assert read[0].startswith(tokenizer.decode(tokens["input_ids"][: tokens["prompt_length"]]))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model"))


def rows_of(*rewards):
    return Dataset.from_list([row for kind in rewards for row in value_rows(grown_tree(kind))])


def make(path, tmp_path, rows=None, dtype=torch.float32, eval_rows=None, **changes):
    arguments = ValueConfig(
        **{
            "output_dir": str(tmp_path), "per_device_train_batch_size": 8, "use_cpu": True, "bf16": False,
            "max_steps": 3, "report_to": "none", "disable_tqdm": True, "logging_steps": 1, "learning_rate": 1e-2,
            "save_strategy": "no", "gradient_checkpointing": False, "model_init_kwargs": {"dtype": dtype}, **changes,
        }
    )  # fmt: skip
    rows = rows_of((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)) if rows is None else rows
    return ValueTrainer(path, arguments, rows, eval_rows, tiny_tokenizer())


def loss_and_gradients(trainer):
    trainer.model.eval()
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters()]), batch


def test_packed_trees_have_the_loss_and_gradients_of_rows(path, tmp_path):
    rows = rows_of((1.0, 0.0, 0.0))
    packed, padded = (make(path, tmp_path, rows, torch.float64, tree_packing=packing) for packing in ("on", "off"))
    (loss, gradients, batch), (expected, theirs, padded_batch) = map(loss_and_gradients, (packed, padded))
    assert batch["tree_size"] < 0.8 * padded_batch["attention_mask"].sum()
    assert "tree_size" not in padded_batch
    assert loss == pytest.approx(expected, rel=1e-6)  # norms compute in float32
    torch.testing.assert_close(gradients, theirs, rtol=1e-4, atol=1e-6)
    # The same by its definition, thought by thought.
    losses = []
    for row in packed.train_dataset:
        logits = packed.model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :, 0]
        for place, value in zip(row["places"], row["values"], strict=True):
            if value is not None:
                p = logits[place].sigmoid().item()
                losses.append(-value * math.log(p) - (1 - value) * math.log(1 - p))
    assert loss == pytest.approx(sum(losses) / 5, rel=1e-6)
    assert len(losses) == 5


@pytest.mark.parametrize("packing", ["on", "off"])
def test_batches_of_an_optimizer_step_weigh_thoughts_alike(path, tmp_path, packing):
    results = []
    for size in (6, 2):
        trainer = make(
            path, tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=6 // size, max_steps=1,
            tree_packing=packing,
        )  # fmt: skip
        trainer.train()
        results.append(trainer.state.log_history[0])
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)
    assert results[0]["grad_norm"] == pytest.approx(results[1]["grad_norm"], rel=1e-4)


def test_values_are_learnt_saved_and_asked_for(path, tmp_path):
    rows = rows_of((1.0, 0.0, 0.0))
    trainer = make(path, tmp_path / "value", rows, eval_rows=rows, max_steps=30)
    assert trainer.is_packing
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()["eval_loss"]
    assert after < before
    found = trainer.values(rows)
    assert found[0][2] > 0.6
    assert found[1][2] < 0.4
    trainer.save_model()
    # Asked later, it says the same of every beginning of a chain.
    model = ValueModel.from_pretrained(str(tmp_path / "value"))
    assert model.identity.model == str(tmp_path / "value")
    assert model.identity.revision
    prompt = rows[0]["prompt"][0]["content"]
    asked = [(prompt, "".join(rows[0]["thoughts"][:n])) for n in (1, 2, 3)]
    assert model.score(asked) == pytest.approx(found[0], abs=1e-5)
    assert model.score_thoughts([(prompt, rows[0]["thoughts"])])[0] == pytest.approx(found[0], abs=1e-5)
    small = ValueModel(model.model, model.tokenizer, model.identity, max_tokens_per_batch=1)
    assert small.score(asked) == pytest.approx(found[0], abs=1e-5)


def test_a_head_is_drawn_by_the_seed(path, tmp_path):
    heads = [make(path, tmp_path, seed=seed).model.score.weight.tolist() for seed in (0, 0, 1)]
    assert heads[0] == heads[1] != heads[2]


def test_tokens_without_a_value_are_not_counted(path, tmp_path):
    batch = next(iter(make(path, tmp_path, rows_of((1.0, 0.0, 0.0))).get_train_dataloader()))
    assert (batch["labels"] != UNKNOWN).sum() == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": Dataset.from_list([{"prompt": "a", "completion": "b"}])}, "there is no column 'thoughts'"),
        ({"max_length": 3}, r"there is no value in 0 chains \(max_length=3\)"),
        ({"tree_packing": "maybe"}, "tree_packing='maybe' is unknown"),
        ({"tree_packing": "on", "train_sampling_strategy": "sequential"}, "is not that of trees"),
        ({"dtype": torch.bfloat16}, "where small steps are rounded away"),
    ],
)
def test_what_cannot_be_learnt_is_refused(path, tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        make(path, tmp_path, **changes)


def test_a_classifier_of_something_else_is_refused(path, tmp_path):
    config = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=300
    )
    config.num_labels = 3
    model = AutoModelForTokenClassification.from_config(config)
    arguments = ValueConfig(str(tmp_path), use_cpu=True, bf16=False)
    with pytest.raises(InvalidInputError, match="the model has 3 labels: a value model has num_labels=1"):
        ValueTrainer(model, arguments, rows_of((1.0, 0.0, 0.0)), processing_class=tiny_tokenizer())


def test_a_model_that_generates_is_no_value_model(path):
    with pytest.raises(InvalidInputError, match="is no value model .LlamaForCausalLM with 2 labels.: train one"):
        ValueModel.from_pretrained(path)


def test_the_head_has_no_dropout(path, tmp_path):
    model = load_with_head(path, ValueConfig(str(tmp_path), use_cpu=True, bf16=False))
    assert model.dropout.p == 0
