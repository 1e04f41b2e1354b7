"""What trainers learn of rows in every format, token for token, under templates that rewrite think blocks."""

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from hf_treecot.engines.chat_template import render_messages, render_target
from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.tree import Node
from hf_treecot.selection.formats import FORMATS, write_chain
from hf_treecot.testing.chat_templates import QWEN3, R1
from hf_treecot.trainers import CDPOTrainer, JointSFTDPOTrainer, MaskedThoughtConfig, MaskedThoughtTrainer, REDITrainer
from hf_treecot.trainers.sft_data import check_completions
from hf_treecot.trainers.targets import render_row, tokenize_chains

from .pair_training import make
from .thinking_templates import templates, thinking_tokenizer
from .tiny_models import save_tiny, tiny_tokenizer


USER = [{"role": "user", "content": "how many is 1 + 1?"}]
RIGHT = [Node("thinking", "thinking", "1 + 1 = 2.\nSo 2.", 0), Node("reflection", "reflection", "Hm, yes.", 1)]
WRONG = [RIGHT[0], Node("double_check", "double-check", "It is 3.", 1)]


def text_of(thoughts, answer, format):
    return write_chain([*thoughts, Node("answer", "answer", f"The answer is: \\boxed{{{answer}}}", 2)], format)


def rows(format):
    chosen, rejected = text_of(RIGHT, 2, format), text_of(WRONG, 3, format)
    messages = {
        name: [{"role": "assistant", "content": text}] for name, text in (("chosen", chosen), ("rejected", rejected))
    }
    return Dataset.from_list([{"prompt": USER, **messages}] * 2)


def chains(format):
    return rows(format).remove_columns("rejected").rename_column("chosen", "completion")


def meant(template, text):
    """What is to be learnt of a completion, by hand."""
    end = {"like Qwen 3": "<|end|>\n", "like R1": "<|end|>", "DeepSeek R1 distils": "<｜end▁of▁sentence｜>"}
    if template in ("like R1", "Qwen 3.5", "DeepSeek R1 distils"):  # the prompt ends in an open block
        text = text.removeprefix("<think>\n") if text.startswith("<think>") else f"</think>\n\n{text}"
    return text + end.get(template, "<|im_end|>\n")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = save_tiny(tmp_path_factory.mktemp("model"))
    model = AutoModelForCausalLM.from_pretrained(path)
    model.resize_token_embeddings(len(thinking_tokenizer(R1)))
    model.save_pretrained(path)
    return path


def parts(row):
    """The token ids of a tokenized row that are seen alone, and those that are learnt."""
    learnt = sum(row["completion_mask"])
    assert row["completion_mask"] == [0] * (len(row["input_ids"]) - learnt) + [1] * learnt
    return row["input_ids"][:-learnt], row["input_ids"][-learnt:]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("template", templates())
def test_the_completion_is_learnt_as_it_stands_after_the_prompt_of_inference(template, format):
    tokenizer = thinking_tokenizer(templates()[template])

    def encode(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    row = tokenize_chains(chains(format), tokenizer)[0]
    seen, learnt = parts(row)
    assert seen == encode(render_messages(tokenizer, USER))
    assert learnt == encode(meant(template, text_of(RIGHT, 2, format)))
    check_completions(chains(format), tokenizer, len(row["input_ids"]))
    with pytest.raises(InvalidInputError, match="would cut 2 of 2 rows"):
        check_completions(chains(format), tokenizer, len(row["input_ids"]) - 1)


@pytest.mark.parametrize(("template", "format"), [("like Qwen 3", "think"), ("like R1", "think"), ("like R1", "tags")])
def test_sft_is_on_these_tokens(template, format, model_path, tmp_path):
    tokenizer = thinking_tokenizer(templates()[template])
    trainer = MaskedThoughtTrainer(
        AutoModelForCausalLM.from_pretrained(model_path), processing_class=tokenizer, train_dataset=chains(format),
        args=MaskedThoughtConfig(str(tmp_path), report_to="none", use_cpu=True, bf16=False, max_length=1024),
    )  # fmt: skip
    seen, learnt = parts(tokenize_chains(chains(format), tokenizer)[0])
    row = trainer.train_dataset[0]
    assert row["input_ids"] == seen + learnt
    assert row["labels"] == [-100] * len(seen) + learnt


def test_trl_alone_loses_the_thoughts(model_path, tmp_path):
    """What the test above is there for."""
    tokenizer = thinking_tokenizer(R1)
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(model_path), processing_class=tokenizer, train_dataset=chains("think"),
        args=SFTConfig(str(tmp_path), report_to="none", use_cpu=True, bf16=False, max_length=1024),
    )  # fmt: skip
    assert "1 + 1 = 2." not in tokenizer.decode(trainer.train_dataset[0]["input_ids"])


@pytest.mark.parametrize(
    ("trainer_class", "template", "format"),
    [
        (CDPOTrainer, "like R1", "think"),
        (JointSFTDPOTrainer, "like Qwen 3", "think"),
        (JointSFTDPOTrainer, "like R1", "plain"),
        (REDITrainer, "like R1", "tags"),
        (REDITrainer, "like Qwen 3", "plain"),
    ],
)
def test_pairs_are_learnt_as_they_stand(trainer_class, template, format, model_path, tmp_path, monkeypatch):
    tokenizer = thinking_tokenizer(templates()[template])
    monkeypatch.setattr("tests.pair_training.tiny_tokenizer", lambda: tokenizer)
    trainer = make(trainer_class, model_path, tmp_path, data=rows(format), max_steps=1)
    row = trainer.train_dataset[0]
    decode = tokenizer.decode
    assert decode(row["prompt_ids"]) == render_messages(tokenizer, USER)
    assert decode(row["chosen_ids"]) == meant(template, text_of(RIGHT, 2, format))
    assert decode(row["rejected_ids"]) == meant(template, text_of(WRONG, 3, format))
    # The thought that both begin with is shared: masked where that is asked for, and forwarded once.
    batch = trainer.data_collator([row])
    assert trainer.is_packing
    completion, _, unshared = trainer.masks(batch)
    is_shared = (completion - unshared)[0].bool()
    assert "So 2." in decode(batch["input_ids"][0, 1:][is_shared])
    assert batch["tree_size"] < batch["attention_mask"].sum() - is_shared.sum()
    trainer.train()


def test_masked_thoughts_hide_no_tag_of_a_block(model_path, tmp_path):
    tokenizer = thinking_tokenizer(QWEN3)
    trainer = MaskedThoughtTrainer(
        AutoModelForCausalLM.from_pretrained(model_path), processing_class=tokenizer, train_dataset=chains("think"),
        args=MaskedThoughtConfig(
            str(tmp_path), report_to="none", use_cpu=True, bf16=False, mask_thoughts=0.9, max_steps=1
        ),
    )  # fmt: skip
    seen = []
    trainer.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["input_ids"].clone()), with_kwargs=True
    )
    trainer.train()
    text = tokenizer.decode(seen[0][0])
    assert text.count("<think>") == text.count("</think>") == 1
    assert "1 + 1 = 2." not in text


def test_options_of_the_template_are_those_of_the_row():
    tokenizer = thinking_tokenizer(QWEN3)
    prompt, learnt = render_target(tokenizer, USER, "2", enable_thinking=False)
    assert prompt.endswith("<|assistant|><think>\n\n</think>\n\n")
    assert learnt == "2<|end|>\n"
    row = tokenize_chains(
        chains("plain").add_column("chat_template_kwargs", [{"enable_thinking": False}] * 2), tokenizer
    )[0]
    seen = [token for token, learnt in zip(row["input_ids"], row["completion_mask"], strict=True) if not learnt]
    assert tokenizer.decode(seen) == prompt


def test_other_templates_are_left_to_trl():
    tokenizer = tiny_tokenizer()
    data = chains("think")
    assert tokenize_chains(data, tokenizer) is data
    prompt, learnt = render_row(tokenizer, USER, data[0]["completion"])
    assert prompt == render_messages(tokenizer, USER)
    assert learnt == text_of(RIGHT, 2, "think") + "<|end|>"


def test_a_template_whose_turns_do_not_go_on_from_its_prompt_is_refused():
    tokenizer = thinking_tokenizer(R1.replace("{{- '<|assistant|><think>", "{{- '<|other|><think>"))
    with pytest.raises(InvalidInputError, match="writes a finished turn otherwise than it prompts for one"):
        render_target(tokenizer, USER, "2")
