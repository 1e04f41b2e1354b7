"""What answers are made of: texts told while they are written, thoughts told from answers, budgets, votes."""

import asyncio
import itertools

import pytest

from hf_treecot.engines.engine import Completion, EngineIdentity, Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.errors import ContextLengthError, TransientEngineError
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.serving.answering import Sampling, answer_by_samples, answer_by_search, answer_plainly
from hf_treecot.serving.thoughts import THOUGHTS, opened_by, split_thoughts
from hf_treecot.serving.writing import PIECE, settled, write

from .serving_world import QUESTION, Writer


MESSAGES = [{"role": "user", "content": QUESTION}]
TYPED = "<sub-task>First.</sub-task>\n<thinking>1 < 2, so <b>yes</b>.</thinking>\n<answer>It is \\boxed{3}.</answer>"


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        (TYPED, TYPED.partition("\n<answer>")[0], "It is \\boxed{3}."),
        ("<think>\nHm.\n</think>\n\nIt is 3.", "Hm.", "It is 3."),
        ("<think>Hm, on and on", "Hm, on and on", ""),
        ("<thinking>on and on", "<thinking>on and on", ""),
        ("<answer>3</answer>", "", "3"),
        ("<answer>3", "", "3"),
        ("It is 3, not <thinking>4</thinking>.", "", "It is 3, not <thinking>4</thinking>."),
        ("  <thinking>x</thinking> <answer> 3 </answer> <answer>4</answer>", "<thinking>x</thinking>", "3  <answer>4"),
        ("<th", "", "<th"),
        ("", "", ""),
    ],
)
def test_thoughts_and_answer(text, thoughts, answer):
    assert split_thoughts(text)[0] == thoughts
    assert split_thoughts(text)[1].removesuffix("</answer>") == answer
    before = ("", "")
    for end in range(len(text) + 1):  # what was told is never taken back
        parts = split_thoughts(text[:end], is_whole=False)
        assert all(later.startswith(earlier) for earlier, later in zip(before, parts, strict=True))
        before = parts
    assert all(whole.startswith(told) for told, whole in zip(before, split_thoughts(text), strict=True))


def test_the_tags_are_those_of_the_patterns():
    patterns = [load_pattern(name) for name in available_patterns()]
    assert set(THOUGHTS) >= {spec.opening for pattern in patterns for spec in pattern.thoughts.values()}


def test_a_template_may_open_the_think_block():
    assert opened_by("<|im_start|>assistant\n<think>\n") == "<think>"
    assert opened_by("<think>\n\n</think>\n\n") == ""


@pytest.mark.parametrize(
    ("text", "stops", "stays"),
    [
        ("one two", (), "one two"), ("one <", ("</a>",), "one "), ("one </a", ("</a>", "x"), "one "),
        ("one </a> two", ("</a>",), "one "), ("gr\ufffd", (), "gr"), ("a\n", ("\n\n",), "a"),
    ],
)  # fmt: skip
def test_what_of_a_growing_text_stays(text, stops, stays):
    assert settled(text, stops) == stays


class Typist:
    """Writes a given text in given tokens, whatever it is asked, from where the prompt ends; does not tell."""

    identity = EngineIdentity("scripted", "typist")

    def __init__(self, tokens, context=10**6):
        self.tokens, self.context, self.requests = tokens, context, []

    def render_chat(self, messages):
        return "> "

    async def generate(self, request):
        self.requests.append(request)
        written = request.prompt.removeprefix("> ")
        start = next(i for i in range(len(self.tokens) + 1) if "".join(self.tokens[:i]) == written)
        room = min(request.max_new_tokens, self.context - start)
        if room < 1:
            raise ContextLengthError("full")
        piece = self.tokens[start : start + room]
        text, reason = "".join(piece), "eos" if start + len(piece) == len(self.tokens) else "length"
        for stop in request.stop:
            if stop in text:
                text, reason = text[: text.index(stop)], "stop"
        return Completion(text, reason, 2, len(piece), -1.0 * len(piece))


WORDS = [f"word{i} " for i in range(40)]


@pytest.mark.parametrize(
    ("tokens", "stop", "budget", "context", "text", "reason"),
    [
        (WORDS, (), 100, 999, "".join(WORDS), "eos"),
        (WORDS, (), 20, 999, "".join(WORDS[:20]), "length"),
        (WORDS, (), 100, 25, "".join(WORDS[:25]), "length"),  # the context is full
        (WORDS, ("word20",), 100, 999, "".join(WORDS[:20]), "stop"),
        (WORDS, (f"word{PIECE - 1} word{PIECE}",), 100, 999, "".join(WORDS[: PIECE - 1]), "stop"),  # in two pieces
    ],
)
async def test_engines_that_do_not_tell_are_asked_in_pieces(tokens, stop, budget, context, text, reason):
    engine, told = Typist(tokens, context), []
    completion = await write(engine, Request("> ", stop, budget, 1.0, 1.0, 3), lambda text, _: told.append(text))
    assert (completion.text, completion.finish_reason) == (text, reason)
    assert completion.log_probability == -1.0 * completion.tokens
    assert len({request.seed for request in engine.requests}) == len(engine.requests) > 1
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(told))
    assert told[-1] == text
    with pytest.raises(ContextLengthError):
        await write(Typist(tokens, 0), Request("> ", stop, budget, 1.0, 1.0, 3), told.append)


async def test_a_text_that_is_not_what_was_told_of_it_is_a_failure():
    class Fickle(Writer):
        async def generate(self, request, tell=None):
            tell("This is", 2)
            return Completion("That was", "eos", 2, 2)

    with pytest.raises(TransientEngineError, match="not what was told of it before"):
        await write(Fickle(), Request("> ", (), 9, 1.0, 1.0, 3), lambda text, tokens: None)


async def test_a_chat_server_is_asked_once():
    engine, told = Typist(WORDS), []
    engine.identity = EngineIdentity("chat", "typist")
    await write(engine, Request("> ", (), 99, 1.0, 1.0, 3), lambda text, _: told.append(text))
    assert told == ["".join(WORDS)]


async def test_the_local_engine_streams_what_it_would_write_at_once(tiny_model_directory):
    engine = LocalEngine.from_pretrained(tiny_model_directory)
    told = []
    for seed in range(3):
        sampling = Sampling(1.0, 1.0, seed, ("e",))
        streamed = await answer_plainly(engine, MESSAGES, sampling, 60, lambda kind, text: told.append((kind, text)))
        assert streamed == await answer_plainly(engine, MESSAGES, sampling, 60)
        assert "".join(text for kind, text in told if kind == "content") == streamed.content
        told.clear()
    engine.close()


async def test_samples_share_the_tokens_and_vote():
    engine = Writer()
    answer = await answer_by_samples(engine, MESSAGES, Sampling(seed=4), 100, 7)
    assert [request.max_new_tokens for request in engine.requests] == [14] * 7
    assert answer.votes["42"] == max(answer.votes.values())
    assert answer.content == "It is \\boxed{42} ."
    assert answer.tokens == engine.tokens
    assert answer.answer_vote == "majority"
    assert answer.reasoning.count("\n") == 7 * 2


async def test_samples_may_be_weighed_by_their_log_probability():
    class Sure(Writer):
        async def generate(self, request, tell=None):
            completion = await super().generate(request)
            rare = "42" not in completion.text
            return Completion(completion.text, "eos", 5, completion.tokens, -0.1 if rare else -50.0)

    arguments = (MESSAGES, Sampling(seed=4), 100, 7)
    assert "42" in (await answer_by_samples(Sure(), *arguments)).content
    assert "42" not in (await answer_by_samples(Sure(), *arguments, answer_vote="log_probability")).content
    assert "42" not in (await answer_by_samples(Sure(), MESSAGES, Sampling(1.0, 1.0, 4), 100, 7)).content


class LikesNothingBut:
    """A value model that is sure of all answers but one."""

    identity = EngineIdentity("local", "values")

    def __init__(self, disliked):
        self.disliked = disliked

    async def value(self, prompt, chain):
        assert prompt == MESSAGES[-1]["content"]
        return 0.001 if self.disliked in chain else 0.9


async def test_samples_may_be_weighed_by_a_value_model():
    arguments = (Writer(), MESSAGES, Sampling(seed=4), 100, 7)
    answer = await answer_by_samples(*arguments, answer_vote="value", value_model=LikesNothingBut("42"))
    assert answer.answer_vote == "value"
    assert "42" not in answer.content
    assert max(answer.votes, key=answer.votes.get) == "42"


async def test_a_search_may_be_weighed_and_rewarded_by_a_value_model():
    for options in ({"answer_vote": "value"}, {"reward": "value"}):
        assert "42" in (await search(Writer())).content
        answer = await search(Writer(), value_model=LikesNothingBut("42"), **options)
        assert answer.content
        assert "42" not in answer.content


async def search(engine, tokens=300, pattern="reflection", **options):
    return await answer_by_search(
        engine, MESSAGES, Sampling(seed=2), tokens, load_pattern(pattern), SearchConfig(), **options
    )


async def test_a_search_tells_every_thought_with_its_place():
    told = []
    answer = await search(Writer(), tell=lambda kind, text: told.append((kind, text)))
    lines = [text for kind, text in told if kind == "reasoning"]
    assert "".join(lines) == answer.reasoning
    nodes = {"": answer.tree.nodes[0]}
    for line in lines:
        place, _, thought = line.rstrip("\n").partition(" ")
        parent, _, number = place.rpartition(".")
        node = answer.tree.nodes[nodes[parent].children[int(number) - 1]]
        assert node.rendered == thought
        nodes[place] = node
    assert len(nodes) == len(answer.tree.nodes)
    assert told[-1] == ("content", answer.content)
    assert answer.content == "The answer is: \\boxed{42}"


@pytest.mark.parametrize("tokens", range(1, 60, 3))
async def test_a_search_never_goes_beyond_its_tokens(tokens):
    engine = Writer()
    answer = await search(engine, tokens)
    assert answer.tokens == engine.tokens <= tokens
    assert answer.chain_tokens <= answer.tokens
    written = any(node.kind == "answer" and "boxed" in node.text for node in answer.tree.nodes)
    assert bool(answer.content) is written  # one that was paid for is given


async def test_a_search_without_time_gives_what_it_has():
    engine = Writer(blocks=True, good=12)
    answer = await search(engine, seconds=0.1)
    assert answer.content
    assert engine.cancelled == len(engine.requests) - 12 > 0
    assert (await search(Writer(blocks=True), seconds=0.05)).content == ""


def never(prompt, chain):
    return 0.0


async def test_critics_write_in_their_role():
    writer, critic = Writer(), Writer()
    answer = await search(writer, pattern="double_check", reward=f"{__name__}:never", critic=critic)
    assert critic.requests
    assert answer.tokens == writer.tokens + critic.tokens


async def test_a_search_that_is_cancelled_leaves_nothing_behind():
    engine = Writer(blocks=True, good=5)
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(search(engine))
    while not engine.running:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert not engine.running
    assert asyncio.all_tasks() == before
