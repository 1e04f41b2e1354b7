"""Trees whose thoughts have advantages: what the loss is made of, by hand, packed as in rows."""

import math

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from hf_treecot.base import Problem
from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.selection.advantages import advantage_rows
from hf_treecot.selection.formats import FORMATS
from hf_treecot.testing.chat_templates import QWEN3, R1
from hf_treecot.trainers import TreeAdvantageConfig, TreeAdvantageTrainer
from hf_treecot.trainers.losses import advantage_score
from hf_treecot.trainers.tree_advantage import tokenize_thoughts

from .thinking_templates import thinking_tokenizer
from .tiny_models import save_tiny, tiny_tokenizer


def grown_tree(rewards=(1.0, 0.0, 0.0)):
    """A first thought, after it a second one with a right and a wrong answer, and a wrong answer at once."""
    tree = Tree(Problem("1", "How much?", "4", "math"), "reflection")
    first = tree.add(Node("thinking", "thinking", "Hm", 0))
    second = tree.add(Node("thinking", "thinking", "So", first))
    for parent, text, reward in zip((second, second, first), ("4", "5", "6"), rewards, strict=True):
        leaf = tree.add(Node("answer", "answer", text, parent, reward=reward, answer=text))
        tree.backpropagate(leaf, reward)
    return tree


def test_the_advantages_of_a_tree_by_hand():
    rows = list(advantage_rows(grown_tree()))
    # Values: 1/3 of the root and the first thought, 1/2 of the second, 1, 0 and 0 of the answers.
    assert [row["advantages"] for row in rows] == [
        pytest.approx([0, 1 / 6, 1 / 2]), pytest.approx([0, 1 / 6, -1 / 2]), pytest.approx([0, -1 / 3]),
    ]  # fmt: skip
    assert [row["chains"] for row in rows] == [[3, 2, 1], [3, 2, 1], [3, 1]]
    for row in rows:
        assert "".join(row["thoughts"]) == row["completion"][0]["content"]
    assert rows[2]["completion"][0]["content"] == "<thinking>Hm</thinking>\n<answer>6</answer>"


def test_chains_without_a_verdict_make_no_row_and_no_share():
    tree = grown_tree()
    tree.add(Node("thinking", "thinking", "Hm hm hm", 2, dead_end="length"))
    assert list(advantage_rows(tree)) == list(advantage_rows(grown_tree()))


@pytest.mark.parametrize("template", [QWEN3, R1])
@pytest.mark.parametrize("format", FORMATS)
def test_every_token_has_the_weight_of_its_thought_in_every_format(template, format):
    tokenizer = thinking_tokenizer(template)
    row = list(advantage_rows(grown_tree(), format))[1]
    (tokens,) = tokenize_thoughts(Dataset.from_list([row]), tokenizer, None)
    weighed = {}
    for token, label, weight in zip(tokens["input_ids"], tokens["labels"], tokens["weights"], strict=True):
        assert label == token or weight == 0
        weighed[round(weight, 3)] = weighed.get(round(weight, 3), "") + tokenizer.decode(token)
    assert "So" in weighed[round(1 / 12, 3)]
    assert "5" in weighed[-0.5]
    assert "Hm" in weighed[0.0]


def test_the_score_and_its_gradient_in_closed_form():
    log_probs = torch.tensor([-0.1, -5.0, -0.1, -5.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.5, 0.5, -0.5, -0.5], dtype=torch.float64)
    score = advantage_score(log_probs, weights, clip=0.1)
    assert score.tolist() == pytest.approx([-0.05, -2.5, 0.05, -0.5 * math.log(0.1)])
    score.sum().backward()
    assert log_probs.grad.tolist() == [0.5, 0.5, -0.5, 0]  # what is unlikely already is not pushed down


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model"))


def rows_of(*rewards):
    return Dataset.from_list([row for kind in rewards for row in advantage_rows(grown_tree(kind))])


def test_every_token_has_the_weight_of_its_thought():
    tokenizer = tiny_tokenizer()
    (row, *_) = tokenize_thoughts(rows_of((1.0, 0.0, 0.0)), tokenizer, None)
    by_weight = {}
    for token, weight, label in zip(row["input_ids"], row["weights"], row["labels"], strict=True):
        if label == -100:
            continue
        by_weight.setdefault(round(weight, 6), []).append(token)
    texts = {weight: tokenizer.decode(tokens) for weight, tokens in by_weight.items()}
    assert texts[0.0] == "<thinking>Hm</thinking>\n"
    assert texts[round(1 / 12, 6)] == "<thinking>So</thinking>\n"
    assert texts[0.5].startswith("<answer>4</answer>")
    prompt = [weight for weight, label in zip(row["weights"], row["labels"], strict=True) if label == -100]
    assert prompt
    assert not any(prompt)


def make(path, tmp_path, packing, rows=None, **changes):
    arguments = TreeAdvantageConfig(
        **{
            "output_dir": str(tmp_path), "per_device_train_batch_size": 8, "use_cpu": True, "bf16": False,
            "max_steps": 3, "report_to": "none", "disable_tqdm": True, "logging_steps": 1, "tree_packing": packing,
            "max_length": 256, "learning_rate": 1e-2, "save_strategy": "no", "gradient_checkpointing": False,
            **changes,
        }
    )  # fmt: skip
    rows = rows_of((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)) if rows is None else rows
    model = AutoModelForCausalLM.from_pretrained(path)
    return TreeAdvantageTrainer(model, arguments, None, rows, processing_class=tiny_tokenizer())


def loss_and_gradients(trainer):
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def test_packed_trees_have_the_loss_and_gradients_of_rows(path, tmp_path):
    rows = rows_of((1.0, 0.0, 0.0))
    packed, padded = (make(path, tmp_path, packing, rows) for packing in ("on", "off"))
    assert packed.is_packing
    (loss, gradients), (expected, theirs) = loss_and_gradients(packed), loss_and_gradients(padded)
    assert loss == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradients, theirs, rtol=1e-3, atol=1e-6)
    # The same by its definition, chain by chain.
    model = AutoModelForCausalLM.from_pretrained(path)
    total, tokens = 0.0, 0
    for row in packed.train_dataset:
        ids = torch.tensor([row["input_ids"]])
        log_probs = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1)
        weights = torch.tensor(row["weights"])[1:]
        total -= advantage_score(log_probs, weights, 0.1).sum().item()
        tokens += sum(label >= 0 for label in row["labels"])
    assert loss == pytest.approx(total / tokens, rel=1e-4)


@pytest.mark.parametrize("packing", ["on", "off"])
def test_a_right_answer_becomes_likelier_and_a_wrong_one_less(path, tmp_path, packing):
    trainer = make(path, tmp_path, packing, rows_of((1.0, 0.0, 0.0)), max_steps=8)

    def answers():
        found = []
        for row in trainer.train_dataset.select(range(2)):
            ids = torch.tensor([row["input_ids"]])
            scores = trainer.model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1)
            found.append(scores[torch.tensor(row["weights"][1:]).abs() == 0.5].sum().item())
        return found

    before = answers()
    trainer.train()
    right, wrong = answers()
    assert right > before[0]
    assert right - wrong > before[0] - before[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": Dataset.from_list([{"prompt": "a", "completion": "b"}])}, "there is no column 'thoughts'"),
        ({"rows": rows_of((1.0, 1.0, 1.0))}, "no thought of 3 chains has an advantage"),
        ({"max_length": 3}, "no thought of 0 chains has an advantage .max_length=3."),
        ({"clip": 0}, "clip=0 is out of range"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(path, tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        make(path, tmp_path, "auto", **changes)
