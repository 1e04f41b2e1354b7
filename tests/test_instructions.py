import json
import random
import sys

import nltk
import pytest
from instruction_cases import SENTENCE, followed_and_broken
from nltk.tokenize.punkt import PunktTokenizer

from hf_treecot.base import Problem
from hf_treecot.domains.instructions import checkers, follow
from hf_treecot.domains.nltk_data import install_punkt
from hf_treecot.errors import InvalidInputError
from hf_treecot.problems.instructions import ALONE, GROUPS, random_instructions
from hf_treecot.problems.loading import load_problems
from hf_treecot.verifiers.instructions import verify


ARGUMENTS = {
    "keywords:existence": {"keywords": ["lamp", "roof"]},
    "keywords:frequency": {"keyword": "lamp", "frequency": 2, "relation": "at least"},
    "keywords:forbidden_words": {"forbidden_words": ["lamp"]},
    "keywords:letter_frequency": {"letter": "#", "let_frequency": 3, "let_relation": "at least"},
    "language:response_language": {"language": "de"},
    "length_constraints:number_sentences": {"num_sentences": 3, "relation": "less than"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_words": {"num_words": 20, "relation": "at least"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "Lamp"},
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "detectable_format:multiple_sections": {"section_spliter": "Part", "num_sections": 2},
    "combination:repeat_prompt": {"prompt_to_repeat": "Say it."},
    "startend:end_checker": {"end_phrase": "That is all."},
    "change_case:capital_word_frequency": {"capital_frequency": 2, "capital_relation": "at least"},
}


def test_all_kinds_of_ifeval_are_known():
    assert len(checkers()) == 25
    assert set(GROUPS) | set(ALONE) <= set(checkers())


@pytest.mark.parametrize("kind", sorted(checkers()))
def test_every_kind_tells_followed_from_broken(kind):
    arguments = ARGUMENTS.get(kind, {})
    followed, broken = followed_and_broken(kind, arguments, "Say it.")
    instruction = {"id": kind, "arguments": arguments}
    assert follow(followed, [instruction]) == [True]
    assert follow(broken, [instruction]) == [False]
    assert follow("", [instruction]) == [False]


def test_all_instructions_must_be_followed_and_the_others_are_named():
    task = {"instructions": [{"id": "punctuation:no_comma"}, {"id": "change_case:english_lowercase", "arguments": {}}]}
    problem = Problem("p", "?", json.dumps(task), "instructions")
    assert verify("The answer is: the garden by the river is quiet.", problem).reward == 1.0
    verdict = verify("the garden, by the river, is Quiet.", problem)
    assert (verdict.reward, verdict.reason) == (0.0, "wrong: punctuation:no_comma, change_case:english_lowercase")
    assert verify("The answer is: ", problem).reason == "no_answer"
    assert verify("a" * 600_000, problem).reason == "unparseable: too long"


def test_loose_forgives_a_first_or_last_line_and_asterisks():
    end = [{"id": "startend:end_checker", "arguments": {"end_phrase": "The end."}}]
    comma = [{"id": "punctuation:no_comma"}]
    for text, instructions in (
        (f"{SENTENCE}. The end.\nI hope this helps!", end),
        ("Sure, here it is:\nNo more.", comma),
    ):
        assert follow(text, instructions) == [False]
        assert follow(text, instructions, loose=True) == [True]
    assert follow("**The end.**", end, loose=True) == [True]
    assert follow("a, b\nc, d\ne, f", comma, loose=True) == [False]


@pytest.mark.parametrize(
    ("text", "what", "count", "ifeval", "multi_if"),
    [
        ("今天天气很好。我们去公园吧！好吗？", "sentences", 3, False, True),
        ("今日はとても天気がいいです。公園に行きましょう。", "sentences", 2, False, True),
        ("आज मौसम बहुत अच्छा है। हम बगीचे में जाएँगे। क्या तुम आओगे?", "sentences", 3, False, True),
        ("วันนี้อากาศดีมาก\nเราไปสวนกันเถอะ\nคุณจะมาไหม", "sentences", 3, False, True),
        ("河边的老花园傍晚非常安静孩子们喜欢去那里", "words", 20, False, True),
        ("川のそばの古い庭は夕方とても静かです", "words", 18, False, True),
        ("สวนเก่าริมแม่น้ำเงียบมากในตอนเย็น", "words", 7, None, True),  # of versions of nltk, some split at vowels
        (f"{SENTENCE}.", "words", 11, True, True),
        (f"{SENTENCE}.", "words", 12, False, False),
    ],
)  # fmt: skip
def test_multi_if_counts_by_the_language_of_the_answer(text, what, count, ifeval, multi_if):
    kind = f"length_constraints:number_{what}"
    instruction = {"id": kind, "arguments": {f"num_{what}": count, "relation": "at least"}}
    assert ifeval is None or follow(text, [instruction]) == [ifeval]
    assert follow(text, [instruction], multilingual=True) == [multi_if]
    fewer = {"id": kind, "arguments": {f"num_{what}": count + 12, "relation": "at least"}}
    assert follow(text, [fewer], multilingual=True) == [False]


@pytest.mark.parametrize("text", ["“今天天气很好。”", "「今日はいい天気です。」"])
def test_multi_if_takes_other_quotation_marks(text):
    assert follow(text, [{"id": "startend:quotation"}]) == [False]
    assert follow(text, [{"id": "startend:quotation"}], multilingual=True) == [True]


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ({"id": "keywords:vibes"}, "'keywords:vibes' is unknown: use one of"),
        ({"id": "length_constraints:number_words", "arguments": {"num_words": 3}}, "takes num_words, relation"),
        ({"id": "punctuation:no_comma", "arguments": {"many": 3}}, "takes no arguments"),
        (
            {"id": "length_constraints:number_words", "arguments": {"num_words": -1, "relation": "at least"}},
            "num_words=-1 is nothing that its checker can check",
        ),
    ],
)
def test_instructions_that_a_checker_would_guess_at_are_failures(instruction, message):
    with pytest.raises(ValueError, match=message):
        follow("x", [instruction])


def test_made_up_problems_can_be_followed():
    seen = set()
    for seed in range(150):
        prompt, instructions = random_instructions(random.Random(seed))
        assert (prompt, instructions) == random_instructions(random.Random(seed))
        assert 1 <= len(instructions) <= 3
        groups = [GROUPS.get(i["id"]) for i in instructions]
        assert len(set(groups)) == len(groups)
        for instruction in instructions:
            seen.add(instruction["id"])
            followed, broken = followed_and_broken(instruction["id"], instruction["arguments"], prompt)
            assert follow(followed, [instruction]) == [True]
            assert follow(broken, [instruction]) == [False]
    assert seen == set(GROUPS) | set(ALONE)
    assert len(random_instructions(random.Random(0), count=3)[1]) == 3


def message(text):
    return json.dumps({"role": "user", "content": text})


def multi_if_row():
    ids = ["punctuation:no_comma", "detectable_format:title"]
    return {
        "key": "1:1:en", "language": "English",
        "turn_1_prompt": message("Write about tea. No commas."), "turn_1_instruction_id_list": json.dumps(ids[:1]),
        "turn_1_kwargs": json.dumps(["{}"]),
        "turn_2_prompt": message("Give it a title."), "turn_2_instruction_id_list": json.dumps(ids),
        "turn_2_kwargs": json.dumps(["{}", "{}"]),
        "turn_3_prompt": None, "turn_3_instruction_id_list": None, "turn_3_kwargs": None,
    }  # fmt: skip


def test_multi_if_accumulates_and_is_for_evaluation_only(tmp_path):
    path = tmp_path / "multi_if.jsonl"
    path.write_text(json.dumps(multi_if_row()))
    with pytest.raises(InvalidInputError, match=r"for evaluation only; .* unless allow_evaluation_only is set"):
        load_problems(str(path))
    first, second = load_problems(str(path), allow_evaluation_only=True)
    assert (first.problem_id, second.problem_id) == ("1:1:en/turn_1", "1:1:en/turn_2")
    assert second.prompt == "Write about tea. No commas.\n\nGive it a title."
    assert json.loads(second.answer)["turns"] == ["Write about tea. No commas.", "Give it a title."]
    assert second.license == "cc-by-nc-2.0"
    assert verify("Tea is warm.", first).reward == 1.0
    assert verify("Tea is warm.", second).reason == "wrong: detectable_format:title"
    assert verify("<<Tea>> Tea, it is warm.", second).reason == "wrong: punctuation:no_comma"
    assert verify("<<Tea>> Tea is warm.", second).reward == 1.0


def test_the_sentence_splitter_is_installed_without_a_download_or_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TREECOT_CACHE", str(tmp_path))
    monkeypatch.setattr(nltk.data, "path", [])
    with (
        monkeypatch.context() as without,
        pytest.raises(ImportError, match="run `python -m nltk.downloader punkt_tab`"),
    ):
        without.setitem(sys.modules, "punkt", None)
        install_punkt()
    install_punkt()
    install_punkt()
    assert nltk.data.path == [str(tmp_path / "nltk_data")]
    assert nltk.data.find("tokenizers/punkt_tab/english/").startswith(str(tmp_path))
    assert len(PunktTokenizer("english").tokenize("Dr. Smith, e.g., came at 5 p.m. today. He left.")) == 2


@pytest.mark.parametrize("answer", ["</answer>", "\u200b", "\ufeff", "\x00 "])
def test_an_answer_that_nobody_can_see_is_none(answer):
    task = {"instructions": [{"id": "punctuation:no_comma", "arguments": {}}]}
    assert verify(answer, Problem("p", "?", json.dumps(task), "instructions")).reason == "no_answer"


def test_json_that_is_nested_too_deep_is_none():
    task = {"instructions": [{"id": "detectable_format:json_format", "arguments": {}}]}
    assert verify("[" * 100_000, Problem("p", "?", json.dumps(task), "instructions")).reward == 0.0


def test_a_problem_without_instructions_is_a_failure():
    with pytest.raises(ValueError, match="has no instructions"):
        verify("Anything.", Problem("p", "?", '{"instructions": []}', "instructions"))
