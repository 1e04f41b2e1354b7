"""Conversations as prompts: system texts reach the model, or the template says that they do not."""

import pytest

from hf_treecot.engines.chat_template import render_messages, tokenizer_digests
from hf_treecot.engines.server import render_chat
from hf_treecot.errors import InvalidInputError
from hf_treecot.starter.tokenizer import build_tokenizer


SYSTEM = {"role": "system", "content": " Use tags. "}
USER, ASSISTANT = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}
TURNS = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}{% endfor %}[assistant]"
REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
DROPS = "{% for m in messages %}{% if m['role'] in ('user', 'assistant') %}[{{ m['role'] }}]{{ m['content'] }}"


def tokenizer_with(template):
    tokenizer = build_tokenizer(["one two"] * 100, [], 256)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("render", [render_messages, render_chat])
@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (TURNS, "[system]Use tags.[user]2 + 2?[assistant]4[user]2 + 2?[assistant]"),
        (REFUSES + TURNS, "[user]Use tags. \n\n2 + 2?[assistant]4[user]2 + 2?[assistant]"),
        (DROPS + "{% endif %}{% endfor %}", "[user] Use tags. \n\n2 + 2?[assistant]4[user]2 + 2?"),
        # One that speaks of system prompts and leaves them out means it.
        ("{# without system prompts #}" + DROPS + "{% endif %}{% endfor %}", "[user]2 + 2?[assistant]4[user]2 + 2?"),
    ],
)
def test_a_system_text_is_put_where_the_template_takes_it(render, template, expected):
    assert render(tokenizer_with(template), [SYSTEM, USER, ASSISTANT, USER]) == expected


def test_the_starter_model_gets_no_system_text():
    tokenizer = build_tokenizer(["one two"] * 100, [], 256)
    assert render_messages(tokenizer, [SYSTEM, USER]) == render_messages(tokenizer, [USER])


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('never') }}", "{{ 1 / 0 }}", "{% if %}", "{{ messages[7]['role'] }}", "{{ x | y }}"],
)
@pytest.mark.parametrize("messages", [[USER], [SYSTEM, USER], [SYSTEM]])
def test_a_template_that_fails_is_one_line(template, messages):
    with pytest.raises(InvalidInputError, match="the chat template of tokenizer .* fails .*: use an instruct"):
        render_messages(tokenizer_with(template), messages)


def test_digests_tell_tokenizers_apart_and_not_their_places(tmp_path):
    tokenizer = tokenizer_with(TURNS)
    tokenizer.save_pretrained(tmp_path / "there")
    again = type(tokenizer).from_pretrained(tmp_path / "there")
    assert tokenizer_digests(again) == tokenizer_digests(tokenizer)
    assert tokenizer_digests(build_tokenizer(["one three"] * 100, [], 256)) != tokenizer_digests(tokenizer)
    assert tokenizer_digests(tokenizer_with(None))["chat_template"] == ""
