"""A model's replies: they say where thinking ends, also if the prompt has opened the block."""

import asyncio

import pytest

from hf_treecot.base import Problem
from hf_treecot.engines.engine import Completion
from hf_treecot.errors import ContextLengthError
from hf_treecot.evaluation.outputs import answer_all, reply


class Scripted:
    """An engine that writes what is given, or has no room."""

    def __init__(self, generation_prompt, texts):
        self.generation_prompt, self.texts = generation_prompt, texts

    def render_chat(self, messages):
        return messages[-1]["content"] + self.generation_prompt

    async def generate(self, request):
        text = self.texts[request.prompt.removesuffix(self.generation_prompt)]
        if text is None:
            raise ContextLengthError("no room")
        return Completion(text, "stop", 5, 3)


@pytest.mark.parametrize(
    ("generation_prompt", "expected"), [("<assistant>", "So 2"), ("<assistant><think>\n", "<think>\nSo 2")]
)
def test_a_reply_begins_with_the_block_that_the_prompt_opens(generation_prompt, expected):
    engine = Scripted(generation_prompt, {"1 + 1?": "So 2", "long": None})

    def ask(question):
        return asyncio.run(reply(engine, [{"role": "user", "content": question}], 9, 0.0, 1.0, 0))

    assert (ask("1 + 1?").text, ask("1 + 1?").tokens) == (expected, 3)
    assert ask("long").text == expected.removesuffix("So 2")


def test_a_reply_that_never_ends_its_thoughts_has_no_answer():
    texts = {"a": "The answer is 2", "b": "So 2.\n</think>\n\nThe answer is 2", "c": "<think>\nThe answer is 2"}
    problems = [Problem(name, name, "2") for name in texts]
    assert [output.no_answer for output in answer_all(problems, Scripted("<think>\n", texts))] == [
        "none_given", "", "none_given",
    ]  # fmt: skip
    assert [output.no_answer for output in answer_all(problems, Scripted("", texts))] == ["", "", "none_given"]
