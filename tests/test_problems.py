import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from hf_treecot.errors import InvalidInputError
from hf_treecot.problems.generators import generate_problems
from hf_treecot.problems.loading import GENERATORS, load_problems


GSM8K = [
    {"question": "Two and two?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
    {"question": "A thousand and one?", "answer": "Easy.\n#### 1,001"},
]
MATH_500 = [
    {"problem": "Half?", "solution": "s", "answer": r"\frac{1}{2}", "subject": "x", "level": 1, "unique_id": "u/1"}
]
AIME = [{"id": "a-0", "problem": "Which?", "expected_answer": "073", "reference_solution": "s"}]
AIME_HUB = [{"id": 60, "problem": "Which?", "answer": "204", "solution": "s", "url": "u", "year": "2024"}]
OTHER_MATH = [{"id": "m", "problem": f"Which is {a}?", "answer": str(a)} for a in (204, 1204)]  # not AIME
IFEVAL = [
    {"key": 7, "prompt": "No commas, 9 words.", "instruction_id_list": ids, "kwargs": kwargs}
    for ids, kwargs in (
        (["punctuation:no_comma"], [{}]),
        (["length_constraints:number_words"], [{"num_words": 9, "relation": "at least"}]),
    )
]
STATEMENT = (
    "[STATEMENT]\nAs initial conditions I have that, the red block is clear, the blue block is clear, the hand is "
    "empty, the red block is on the table and the blue block is on the table.\nMy goal is to have that the red block "
    "is on top of the blue block.\n\nMy plan is as follows:\n\n[PLAN]"
)
PLANBENCH = [
    {"domain": "blocksworld", "instance_id": 2, "query": STATEMENT, "ground_truth_plan": "(pick-up red)"},
    {"domain": "logistics", "instance_id": 2, "query": "Trucks.", "ground_truth_plan": "(drive)"},
]
WORLD = (
    "(define (problem blocks) (:domain blocksworld-4ops) (:objects blue red)\n(:init (clear blue) (clear red) "
    "(handempty) (ontable blue) (ontable red))\n(:goal (and (on red blue))))"
)
LETTERS = [{"id": "r0", "problem": "How many e and u are there in total in subsensual?", "solution": 3}]


def write(path: Path, rows):
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(f'"{value}"' for value in row.values()) for row in rows)]
        path.write_text("\n".join(lines))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize(
    ("rows", "problem_id", "answer", "verifier"),
    [
        (GSM8K, "rows-0", "4", "math"),
        (MATH_500, "u/1", r"\frac{1}{2}", "math"),
        (AIME, "a-0", "73", "math"),
        (AIME_HUB, "60", "204", "math"),
        (OTHER_MATH, "m", "204", "math"),
        (LETTERS, "r0", "3", "letters"),
        (IFEVAL, "7", '{"instructions": [{"id": "punctuation:no_comma", "arguments": {}}]}', "instructions"),
        (PLANBENCH, "rows-0", WORLD, "planning"),
        ([{"prompt": "1?", "answer": "1"}], "rows-0", "1", "math"),
        ([{"problem_id": "mine", "prompt": "1?", "answer": "1", "verifier": "letters"}], "mine", "1", "letters"),
    ],
)
def test_the_usual_datasets_are_known_by_their_columns(tmp_path, suffix, rows, problem_id, answer, verifier):
    problem = load_problems(write(tmp_path / f"rows{suffix}", rows))[0]
    assert (problem.problem_id, problem.answer, problem.verifier) == (problem_id, answer, verifier)
    assert problem.prompt in rows[0].values()
    assert problem.source == "rows"


def test_gsm8k_answers_lose_their_commas(tmp_path):
    assert [p.answer for p in load_problems(write(tmp_path / "g.jsonl", GSM8K))] == ["4", "1001"]


def test_csv_columns_limit_and_verifier(tmp_path):
    path = write(tmp_path / "x.csv", [{"q": f"{i}?", "a": i, "n": f"id{i}"} for i in range(5)])
    columns = {"prompt": "q", "answer": "a", "problem_id": "n"}
    problems = load_problems(path, columns=columns, limit=3, verifier="letters")
    assert [(p.problem_id, p.prompt, p.answer, p.verifier) for p in problems] == [
        (f"id{i}", f"{i}?", str(i), "letters") for i in range(3)
    ]


def test_directories(tmp_path):
    write(tmp_path / "train.jsonl", GSM8K)
    assert len(load_problems(str(tmp_path))) == 2


@pytest.mark.parametrize("generator", GENERATORS)
def test_generators_are_deterministic(generator):
    problems = list(generate_problems(generator, 50, seed=1))
    assert problems == load_problems(generator, limit=50, seed=1)
    assert problems != load_problems(generator, limit=50, seed=2)
    assert len({p.problem_id for p in problems}) == 50
    if generator in ("letters", "arithmetic"):
        assert all(int(p.answer) >= 0 for p in problems)


def test_made_up_letter_problems_are_of_the_real_kind():
    for problem in generate_problems("letters", 200, seed=0):
        words = problem.prompt.rstrip("?.").split()
        word, a, b = words[-1], words[words.index("and") - 1], words[words.index("and") + 1]
        assert 6 <= len(word) <= 13
        assert a != b
        assert int(problem.answer) == word.count(a) + word.count(b)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("missing.jsonl", None, {}, "no such file, directory or generator"),
        ("empty.jsonl", "", {}, "the file is empty; give a file with at least one problem"),
        ("empty.json", "[]", {}, "the file is empty"),
        ("blank.csv", "\n", {}, "the file is empty"),
        ("x.txt", "hello", {}, "unknown file type; use one of .json, .jsonl, .csv, .parquet"),
        (
            "x.jsonl",
            '{"prompt": "?", "answer": "1", "verifier": "cProfile:run"}',
            {},
            "row 0: verifier 'cProfile:run' is named by the data, which may name .* --verifier if you trust it",
        ),
        ("x.jsonl", '{"a": 1}', {}, r"its columns \(a\) fit no known format"),
        ("x.jsonl", '{"a": 1}', {"format": "gsm8k"}, r"no column 'question' \(it has a\); map the right ones"),
        ("x.jsonl", '{"a": 1}', {"format": "gsm9k"}, "format='gsm9k' is unknown: use auto or one of ifeval, multi_if"),
        ("x.jsonl", '{"a": 1}', {"columns": {"prompt": "b", "answer": "a"}}, "no column 'b'"),
        ("x.jsonl", '{"a": 1}', {"columns": {"prompt": "a"}}, "must name the columns of prompt and answer"),
        (
            "x.jsonl",
            '{"question": "q", "answer": "no mark"}',
            {"format": "gsm8k"},
            "row 0: column 'answer' holds 'no mark'",
        ),
        ("x.jsonl", '{"prompt": "", "answer": "1"}', {}, "row 0: .* every problem needs a text and an answer"),
        ("x.jsonl", '{"prompt": "q", "answer": null}', {}, "row 0: .* every problem needs a text and an answer"),
        ("x.jsonl", "{not json", {}, "cannot be loaded"),
        ("x.jsonl", '{"prompt": "q", "answer": "1"}', {"limit": 0}, "limit=0 is out of range"),
        ("x.jsonl", '{"problem": "q", "expected_answer": "1000"}', {"format": "aime"}, "whole numbers from 0 to 999"),
        (
            "x.jsonl",
            '{"query": "q", "ground_truth_plan": "p"}',
            {},
            "row 0: its query, ground_truth_plan are not a problem",
        ),
        ("x.pddl", "(define", {}, "holds no rows"),
        ("x.pddl", "(define (:goal))", {}, "row 0: its pddl are not a problem.*a problem needs"),
    ],
)
def test_bad_sources_are_refused_with_name_and_remedy(tmp_path, name, content, options, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        load_problems(str(path), **options)


@pytest.mark.parametrize("answer", ["NaN", "Infinity", "true", "[1, 2]", '{"value": 3}'])
def test_answers_that_are_neither_text_nor_numbers_are_refused(tmp_path, answer):
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{{"prompt": "What is it?", "answer": {answer}}}\n')
    with pytest.raises(
        InvalidInputError, match="row 0: column 'answer' holds .*an answer is a text or a finite number"
    ):
        load_problems(str(path))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_words_that_stand_for_nothing_elsewhere_are_answers(tmp_path, suffix):
    path = tmp_path / f"mine.{suffix}"
    answers = ["NA", "None", "null", "nan", "N/A"]
    if suffix == "csv":
        path.write_text("prompt,answer\n" + "".join(f"What is {i}?,{answer}\n" for i, answer in enumerate(answers)))
    else:
        path.write_text(
            "".join(json.dumps({"prompt": f"What is {i}?", "answer": a}) + "\n" for i, a in enumerate(answers))
        )
    assert [problem.answer for problem in load_problems(str(path))] == answers


@pytest.mark.parametrize("answer", ["3.7", '"three"', "true"])
def test_a_count_of_letters_is_a_whole_number(tmp_path, answer):
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{{"id": "a", "problem": "How many?", "solution": {answer}}}\n')
    with pytest.raises(InvalidInputError, match="row 0: column 'solution' holds"):
        load_problems(str(path), format="letter_count")


def test_repeated_problems_are_merged_and_contradictions_left_out_before_anything_is_grown(tmp_path, caplog):
    path = tmp_path / "mine.jsonl"
    rows = [
        ("What is 2 + 2?", "4"),
        ("What  is 2 + 2? ", "4"),
        ("Which one?", "a"),
        ("Which one?", "b"),
        ("Last?", "z"),
    ]
    path.write_text("".join(json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt, answer in rows))
    assert len(load_problems(str(path))) == 5
    problems = load_problems(str(path), merge_repeated=True)
    assert [(problem.problem_id, problem.answer) for problem in problems] == [("mine-0", "4"), ("mine-4", "z")]
    assert "1 rows that repeat an earlier one are left out" in caplog.text
    assert (
        "1 problems are left out, since the same text has different answers (mine-2: 'a', mine-3: 'b')" in caplog.text
    )


def test_a_name_that_is_neither_file_nor_dataset():
    with pytest.raises(
        InvalidInputError, match="'riddles': no such file, directory or generator.*letters, arithmetic"
    ):
        load_problems("riddles")


def test_rows_of_other_domains_are_left_out_and_said(tmp_path, caplog):
    path = write(tmp_path / "planbench.jsonl", PLANBENCH)
    assert len(load_problems(path)) == 1
    assert "1 rows that no verifier can check are left out" in caplog.text
    with pytest.raises(InvalidInputError, match="no verifier can check any of its rows"):
        load_problems(write(tmp_path / "logistics.jsonl", PLANBENCH[1:]))


def test_planbench_files_and_pddl(tmp_path):
    path = tmp_path / "plans.json"
    path.write_text(json.dumps({"task": "t", "instances": PLANBENCH[:1]}))
    assert [p.answer for p in load_problems(str(path))] == [WORLD]
    for number in (2, 10):
        (tmp_path / f"instance-{number}.pddl").write_text(WORLD)
    (tmp_path / "domain.pddl").write_text("(define (domain blocksworld-4ops))")
    problems = load_problems(str(tmp_path))
    assert [p.problem_id for p in problems] == ["instance-2", "instance-10"]
    assert problems[0].answer == WORLD
    assert "My goal is to have that the red block is on top of the blue block" in problems[0].prompt
    assert load_problems(str(tmp_path / "instance-2.pddl")) == [replace(problems[0], source="instance-2")]


def test_open_ended_problems_need_no_answer_for_the_confidence_verifier(tmp_path):
    path = write(tmp_path / "open.jsonl", [{"q": "Write a poem."}])
    problem = load_problems(path, columns={"prompt": "q"}, verifier="confidence")[0]
    assert (problem.prompt, problem.answer, problem.verifier) == ("Write a poem.", "", "confidence")
    with pytest.raises(InvalidInputError, match="must name the columns of prompt and answer"):
        load_problems(path, columns={"prompt": "q"})


# Real rows of public datasets are no part of the project; a directory of them may be named.
REAL = Path(os.environ.get("TREECOT_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real rows are not here: name them in TREECOT_REAL_DATA")
@pytest.mark.parametrize(
    ("file", "count", "verifier"),
    [
        ("gsm8k/train.jsonl", 500, "math"), ("gsm8k/test.jsonl", 100, "math"), ("math500/test.jsonl", 100, "math"),
        ("aime24/test.jsonl", 30, "math"), ("letter_count/letter_count.json", 250, "letters"),
        ("ifeval/input_data.jsonl", 150, "instructions"), ("blocksworld/plan_generation_3.json", 100, "planning"),
        ("blocksworld/instances_3", 101, "planning"),
    ],
)  # fmt: skip
def test_real_rows_load_and_their_gold_answers_are_right(file, count, verifier):
    from hf_treecot.verifiers import load_verifier

    problems = load_problems(str(REAL / file))
    assert len(problems) == count
    assert {p.verifier for p in problems} == {verifier}
    if verifier not in ("math", "letters"):
        return
    verify = load_verifier(verifier)
    assert all(verify(rf"\boxed{{{p.answer}}}", p).reward == 1.0 for p in problems)
    assert not any(verify(r"\boxed{7777}", p).reward for p in problems)
