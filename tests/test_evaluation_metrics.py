"""Tasks and metrics with scripted outputs, whose right scores are known by hand."""

# ruff: noqa: E402
import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import pytest


pytest.importorskip("lighteval", reason="lighteval is not installed")
from hf_treecot.evaluation import lighteval_compat as compat


compat.prepare()

from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTask
from lighteval.tasks.requests import Doc

from hf_treecot.base import Problem, Verdict
from hf_treecot.errors import InvalidInputError
from hf_treecot.evaluation.lighteval_tasks import OutputMetrics, Outputs, make_task, metrics, to_doc
from hf_treecot.evaluation.metrics import (
    CONVERSATION,
    INSTRUCTIONS,
    REASONING,
    followed_instructions,
    metric_names,
    summarize,
)
from hf_treecot.evaluation.replies import check_gold, verify
from hf_treecot.evaluation.tasks import BENCHMARKS, TASKS_TABLE, TaskOptions
from hf_treecot.evaluation.voting import Vote
from hf_treecot.problems.generators import generate_problems
from hf_treecot.problems.loading import load_problems
from hf_treecot.verifiers.judging import NO_ANSWER


REAL = os.environ.get("TREECOT_REAL_DATA")
real_data = pytest.mark.skipif(not REAL, reason="TREECOT_REAL_DATA names no directory")
SUM = Problem("p", "What is 6 times 7?", "42", "math", "test")
RIGHT, WRONG = "<answer>The answer is: \\boxed{42}</answer>", "<answer>The answer is: \\boxed{41}</answer>"
LOOP = "<thinking>Let me check the sum again. " + "I will check the sum again and again. " * 30
NEVER = "<thinking>It is hard to say what this comes to.</thinking>"
UNREADABLE = "<answer>The answer is: \\boxed{42 43}</answer>"


def doc_of(*problems, size=512):
    return Doc(
        "query", [problems[-1].answer], 0, task_name="treecot:test|0", generation_size=size,
        specific={"problems": [asdict(problem) for problem in problems]},
    )  # fmt: skip


def figures(texts, problem=SUM, k=None, kind=REASONING, **more):
    reasons = [
        "length" if "<answer>" not in text and kind == REASONING and text != NEVER else "stop" for text in texts
    ]
    response = Outputs(text=texts, token_counts=[len(t.split()) for t in texts], finish_reasons=reasons, **more)
    problems = problem if isinstance(problem, list) else [problem]
    return OutputMetrics(kind, k or len(texts) // len(problems)).compute(doc_of(*problems), response)


@pytest.mark.parametrize(
    ("text", "accuracy", "kind"),
    [
        (RIGHT, 1.0, ""),
        (WRONG, 0.0, ""),
        ("So the answer is 42.", 1.0, ""),
        (LOOP, 0.0, "looping"),
        (NEVER, 0.0, "none_given"),
        ("<thinking>First I take six and then", 0.0, "truncated"),
        (UNREADABLE, 0.0, "unparseable"),
        ("<thinking>6 times 7 is put down 4}</answer>", 0.0, "unparseable"),
        ("<answer></answer>", 0.0, "none_given"),
        ("", 0.0, "truncated"),
    ],
)
def test_one_output_is_right_or_fails_in_one_way(text, accuracy, kind):
    result = figures([text])
    assert result["accuracy"] == accuracy
    assert result["no_answer_rate"] == float(bool(kind))
    assert {name: result[f"no_answer_{name}"] for name in NO_ANSWER} == {n: float(n == kind) for n in NO_ANSWER}
    assert result["repetition_rate"] == float(text == LOOP)
    assert result["length"] == result["tokens"] == len(text.split())


def test_a_mixture_of_samples():
    result = figures([WRONG, RIGHT, LOOP, RIGHT])
    assert result["accuracy"] == 0.5
    assert result["no_answer_rate"] == result["no_answer_looping"] == 0.25
    assert [result[f"test@{k}"] for k in (1, 2, 4)] == [0.0, 1.0, 1.0]
    assert [result[f"pass@{k}"] for k in (1, 2, 4)] == [0.5, pytest.approx(5 / 6), 1.0]
    assert [result[f"maj@{k}"] for k in (1, 2, 4)] == [0.0, 0.0, 1.0]  # of equals the first counts
    assert result["tokens"] == sum(len(text.split()) for text in (WRONG, RIGHT, LOOP, RIGHT))
    assert (result["test@tokens/8"], result["test@tokens"]) == (1.0, 1.0)  # the loop takes nearly all tokens


def test_samples_vote_by_what_they_weigh():
    """Two wrong ones that are unlikely against a right one; what gives no answer is not voted for, however likely."""
    ballot = [Vote(None, str(i), weight) for i, weight in enumerate((-9.0, -9.0, -1.0, 0.0))]
    result = figures([WRONG, WRONG, RIGHT, NEVER], ballot=ballot, answer_vote="log_probability")
    assert [result[f"maj@{k}"] for k in (1, 2, 4)] == [0.0, 0.0, 0.0]
    assert [result[f"vote@{k}"] for k in (1, 2, 4)] == [0.0, 0.0, 1.0]
    alike = figures([WRONG, WRONG, RIGHT, NEVER])
    assert alike["vote@4"] == alike["maj@4"] == 0.0
    assert figures([NEVER, NEVER])["vote@2"] == 0.0


def test_of_a_search_the_chosen_output_counts_and_no_token_is_counted_twice():
    result = figures([WRONG, RIGHT], is_search=True, found_at=[90, 40], budget=100, k=1)
    assert result["accuracy"] == 0.0
    assert result["tokens"] == 100
    assert [result[f"test@tokens{part}"] for part in ("/8", "/4", "/2", "")] == [0.0, 0.0, 1.0, 1.0]
    assert "pass@2" not in result


def test_a_verifier_that_fails_is_no_reward():
    result = figures([RIGHT, WRONG], Problem("p", "?", "42", "tests.verifiers_of_mine:crash", "test"))
    assert math.isnan(result["accuracy"])
    assert result["verifier_failures"] == 1.0
    assert summarize("accuracy", [math.nan, 1.0, 0.0])["accuracy"] == 0.5


def test_fewer_samples_than_k_are_refused():
    with pytest.raises(InvalidInputError, match="k=4 needs as many samples; the model gave 2"):
        figures([RIGHT, WRONG], k=4)


def test_lengths_of_lightevals_own_responses_leave_out_padding():
    response = ModelResponse(text=[RIGHT], output_tokens=[[5, 6, 7, 1, 0, 0, 0, 0]])
    result = OutputMetrics(REASONING, 1).compute(doc_of(SUM, size=8), response)
    assert (result["length"], result["accuracy"]) == (5, 1.0)
    response = ModelResponse(text=["<thinking>it"], output_tokens=[[5, 6, 7, 1, 4, 3, 2, 8]])
    assert OutputMetrics(REASONING, 1).compute(doc_of(SUM, size=8), response)["no_answer_truncated"] == 1.0


@pytest.mark.parametrize("kind", [REASONING, INSTRUCTIONS, CONVERSATION])
def test_every_figure_of_a_problem_has_a_way_to_be_summed_up(kind):
    grouping = metrics(kind, 4)
    assert set(grouping.metric_name) == set(grouping.corpus_level_fn) == set(grouping.higher_is_better)
    assert grouping.higher_is_better["accuracy"]
    assert not grouping.higher_is_better["no_answer_rate"]
    assert set(figures([RIGHT, WRONG, LOOP, NEVER])) <= set(metric_names(REASONING, 4))


def test_a_figure_comes_with_its_interval():
    result = summarize("accuracy", [1.0, 0.0] * 50)
    assert result["accuracy"] == 0.5
    assert 0.38 < result["accuracy_low"] < 0.45 < 0.55 < result["accuracy_high"] < 0.62
    assert result["accuracy_stderr"] == pytest.approx(0.05, rel=0.1)


LOWER = {"id": "change_case:english_lowercase", "arguments": {}}
COMMA = {"id": "punctuation:no_comma", "arguments": {}}


def following(*turns):
    """Problems of a conversation, whose instructions add up."""
    answers = [{"instructions": list(i), "turns": ["say"] * (n + 1)} for n, i in enumerate(turns)]
    return [Problem(f"c/{n}", "say", json.dumps(a), "instructions", "test") for n, a in enumerate(answers)]


def test_the_four_accuracies_of_instructions():
    pytest.importorskip("lm_eval")
    (problem,) = following([LOWER, COMMA])
    result = figures(["all is *fine, here"], problem, kind=INSTRUCTIONS)
    assert (result["accuracy"], result["prompt_level_strict_acc"]) == (0.0, [0.0])
    assert result["inst_level_strict_acc"] == [1.0, 0.0]
    loose = figures(["Here it is:\nall is fine"], problem, kind=INSTRUCTIONS)
    assert (loose["prompt_level_strict_acc"], loose["prompt_level_loose_acc"]) == ([0.0], [1.0])
    assert (loose["inst_level_strict_acc"], loose["inst_level_loose_acc"]) == ([0.0, 1.0], [1.0, 1.0])


def test_a_conversation_is_judged_turn_by_turn():
    pytest.importorskip("lm_eval")
    turns = following([LOWER], [LOWER, COMMA], [LOWER, COMMA])
    result = figures(
        ["all of this is fine with me", "Not all of this, my friend, is fine", ""], turns, kind=CONVERSATION
    )
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert result["turn_1_prompt_level_strict_acc"] == [1.0]
    assert result["turn_2_inst_level_strict_acc"] == [0.0, 0.0]
    assert result["turn_3_inst_level_loose_acc"] == [0.0, 0.0]
    # What the authors report: the mean of the four accuracies of a turn, each over all problems.
    mean = summarize("turn_2_mean_acc", [result["turn_2_mean_acc"], [[1.0]] * 4])["turn_2_mean_acc"]
    assert mean == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 3) / 4)
    assert result["no_answer_rate"] == pytest.approx(1 / 3)
    with pytest.raises(InvalidInputError, match="a conversation of 3 turns"):
        figures(["all of this is fine with me"], turns, kind=CONVERSATION, k=1)


def test_one_instruction_twice():
    twice = [LOWER, COMMA, LOWER]
    verdict = Verdict(0.0, "x", "wrong: change_case:english_lowercase")
    assert followed_instructions(verdict, twice) == [False, True, True]
    assert followed_instructions(Verdict(0.0, None, "no_answer"), twice) == [False] * 3


def test_packaged_problems_are_those_of_the_generators():
    for name in ("letters", "arithmetic"):
        task = LightevalTask(make_task(BENCHMARKS[name], TaskOptions()))
        docs = task.get_docs()
        held = {doc.query: doc.choices[0] for doc in docs}
        assert len(docs) == 500
        assert held == {problem.prompt: problem.answer for problem in generate_problems(name, 500, 99)}


def test_names_and_options():
    assert [task.name for task in TASKS_TABLE] == [f"treecot:{name}" for name in BENCHMARKS]
    assert make_task(BENCHMARKS["gsm8k"], TaskOptions(data="/data")).hf_repo == "/data/gsm8k"
    assert make_task(BENCHMARKS["multi_if_hindi"], TaskOptions(data="/data")).hf_repo == "/data/multi_if"
    assert make_task(BENCHMARKS["letters"], TaskOptions(data="/data")).hf_repo.endswith("letters")
    row = {"question": "What is 6 times 7?", "answer": "It is 42.\n#### 42"}
    assert to_doc(BENCHMARKS["gsm8k"], "benchmark", row, "t").query.endswith("\\boxed{}.\n\nWhat is 6 times 7?")
    assert to_doc(BENCHMARKS["gsm8k"], "training", row, "t").query == "What is 6 times 7?"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 33}, "k=33 is out of range"),
        ({"prompt": "mine"}, "prompt='mine' is unknown"),
        ({"generation_size": 0}, "max_new_tokens=0 is out of range"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidInputError, match=message):
        TaskOptions(**options)


def test_rows_that_cannot_be_read_are_named():
    with pytest.raises(InvalidInputError, match="gsm8k': the gold answer of row 3 cannot be read"):
        to_doc(BENCHMARKS["gsm8k"], "training", {"question": "?", "answer": "42", "__index": 3}, "t")
    with pytest.raises(InvalidInputError, match="has the columns text; it needs question, answer"):
        to_doc(BENCHMARKS["gsm8k"], "training", {"text": "?", "__index": 0}, "t")
    with pytest.raises(InvalidInputError, match="problem 'p': its gold answer 'many' cannot be checked"):
        check_gold(Problem("p", "How many r?", "many", "letters"))


GOLD = {
    "gsm8k/test.jsonl": "gsm8k", "gsm8k/train.jsonl": "gsm8k", "math500/test.jsonl": "math_500",
    "aime24/test.jsonl": "aime24",
}  # fmt: skip


def rows_of(path):
    return [json.loads(line) for line in (Path(REAL) / path).read_text(encoding="utf-8").splitlines()]


@real_data
@pytest.mark.parametrize("path", GOLD)
def test_gold_answers_are_right(path):
    docs = [to_doc(BENCHMARKS[GOLD[path]], "training", row, "t") for row in rows_of(path)]
    problems = [Problem(**{**doc.specific["problems"][0], "problem_id": str(i)}) for i, doc in enumerate(docs)]
    verdicts = verify([f"The answer is: \\boxed{{{problem.answer}}}" for problem in problems], problems)
    assert [verdict.reward for verdict in verdicts] == [1.0] * len(problems)


@real_data
def test_gold_counts_of_letters_are_right():
    problems = load_problems(str(Path(REAL) / "letter_count/letter_count.json"))
    assert len(problems) == 250
    verdicts = verify([f"The answer is: \\boxed{{{problem.answer}}}" for problem in problems], problems)
    assert [verdict.reward for verdict in verdicts] == [1.0] * len(problems)


@real_data
def test_gold_plans_are_right():
    rows = json.loads((Path(REAL) / "blocksworld/plan_generation_3.json").read_text())["instances"]
    docs = [to_doc(BENCHMARKS["blocksworld"], "training", row, "t") for row in rows]
    problems = [Problem(**doc.specific["problems"][0]) for doc in docs]
    verdicts = verify([row["ground_truth_plan"] for row in rows], problems)
    assert [verdict.reward for verdict in verdicts] == [1.0] * len(rows)
    assert {verdict.reward for verdict in verify(["(pick-up a)"] * len(rows), problems)} == {0.0}


@real_data
def test_the_protocol_of_multi_if():
    rows = rows_of("multi_if/english_40.jsonl")
    docs = [to_doc(BENCHMARKS["multi_if"], "benchmark", row, "t") for row in rows]
    assert [doc.query for doc in docs] == [json.loads(row["turn_1_prompt"])["content"] for row in rows]
    for row, doc in zip(rows, docs, strict=True):
        answers = [json.loads(problem["answer"]) for problem in doc.specific["problems"]]
        assert len(answers) == 3
        for turn, answer in enumerate(answers, start=1):
            assert [i["id"] for i in answer["instructions"]] == json.loads(row[f"turn_{turn}_instruction_id_list"])
            assert answer["turns"][-1] == json.loads(row[f"turn_{turn}_prompt"])["content"]


@real_data
def test_agreement_with_lightevals_ifeval():
    """The same outputs, judged by both; where they differ is known instruction by instruction."""
    pytest.importorskip("lm_eval")
    pytest.importorskip("langdetect")
    from lighteval.tasks.tasks.ifeval.main import IFEvalMetrics

    from hf_treecot.domains.nltk_data import install_punkt

    install_punkt()
    rows, differences = rows_of("ifeval/input_data.jsonl"), []
    for number, row in enumerate(rows):
        text = [row["prompt"], row["prompt"].lower().replace(",", ""), "P.S. *one* [two]\n\n***\n\nOk."][number % 3]
        doc = to_doc(BENCHMARKS["ifeval"], "training", row, "t")
        ours = OutputMetrics(INSTRUCTIONS, 1).compute(doc, Outputs(text=[text], token_counts=[9]))
        theirs = IFEvalMetrics().compute(
            Doc(row["prompt"], [""], 0, specific={"instructions_id_list": row["instruction_id_list"],
            "kwargs": row["kwargs"]}), ModelResponse(text=[text])
        )  # fmt: skip
        # The order within a prompt is lost where it has one instruction twice; the figures do not depend on it.
        differences += [
            row["key"]
            for mode in ("strict", "loose")
            if sorted(ours[f"inst_level_{mode}_acc"]) != sorted(map(float, theirs[f"inst_level_{mode}_acc"]))
        ]
    # lighteval checks a random letter where `#` or `!` is asked for: its checker takes no other sign than letters.
    odd = {
        row["key"] for row in rows for given in row["kwargs"] if not (given.get("letter") or "a").isalpha()
    }  # fmt: skip
    assert set(differences) <= odd
