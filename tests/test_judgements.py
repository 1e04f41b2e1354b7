import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from hf_treecot.errors import InvalidInputError
from hf_treecot.selection.judgements import Judgement, JudgementLog, item_id, load_judgements
from hf_treecot.selection.selector import SelectionConfig, Selector, select_preferences, select_sft

from .test_selection import TREE, thoughts_of, tokenize


def chain(row, column):
    return row[column][0]["content"]


def judge(directory, *events):
    log = JudgementLog(directory)
    for annotator, verdict, item in events:
        log.undo(annotator) if verdict == "undo" else log.add(Judgement(item, verdict, annotator))
    return log


def test_what_was_judged_is_there_when_the_log_is_opened_again(tmp_path):
    judge(tmp_path, ("ann", "accept", "x"), ("ann", "reject", "x"), ("bob", "accept", "y"))
    log = JudgementLog(tmp_path)
    assert {item: j.verdict for item, j in log.of("ann").items()} == {"x": "reject"}
    assert {item: j.verdict for item, j in log.of("bob").items()} == {"y": "accept"}
    assert log.of("carol") == {}


def test_undo_takes_back_one_event_of_one_annotator_also_after_a_restart(tmp_path):
    judge(tmp_path, ("ann", "accept", "x"), ("ann", "reject", "x"), ("bob", "accept", "y"))
    assert JudgementLog(tmp_path).undo("ann").verdict == "reject"
    log = JudgementLog(tmp_path)
    assert log.of("ann")["x"].verdict == "accept"
    assert log.undo("ann").verdict == "accept"
    assert log.undo("ann") is None
    assert log.of("ann") == {}
    assert log.of("bob")["y"].verdict == "accept"


def test_many_annotators_at_once_lose_nothing(tmp_path):
    logs = [JudgementLog(tmp_path), JudgementLog(tmp_path)]  # two processes, as far as files go
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: logs[i % 2].add(Judgement(f"item {i}", "reject", f"annotator {i % 5}")), range(100)))
    assert load_judgements(tmp_path).rejected.total() == 100


def test_a_line_that_was_never_finished_was_never_acknowledged(tmp_path):
    log = judge(tmp_path, ("ann", "accept", "x"))
    with log.path.open("a") as file:
        file.write('{"item": "y", "verd')
    assert set(JudgementLog(tmp_path).of("ann")) == {"x"}


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"item": "x"}', '{"item": 1}'])
def test_a_broken_line_is_named(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(InvalidInputError, match=r"a\.jsonl.*line 1 is not a judgement"):
        load_judgements(tmp_path)


def test_bad_input(tmp_path):
    with pytest.raises(InvalidInputError, match="there are none"):
        load_judgements(tmp_path / "nothing")
    with pytest.raises(InvalidInputError, match="verdict='maybe'"):
        Judgement("x", "maybe", "ann")
    with pytest.raises(InvalidInputError, match="annotator is empty"):
        Judgement("x", "accept", " ")
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        JudgementLog(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("verdicts", "rejected"),
    [(["reject"], True), (["accept"], False), (["reject", "accept"], True), (["reject", "accept", "accept"], False)],
)
def test_annotators_vote(tmp_path, verdicts, rejected):
    judge(tmp_path, *((f"annotator {i}", verdict, "x") for i, verdict in enumerate(verdicts)))
    assert load_judgements(tmp_path).rejects("x") is rejected
    assert not load_judgements(tmp_path).rejects("y")


def test_selection_leaves_out_what_annotators_reject(tmp_path):
    (longest,) = select_sft([TREE], tokenize)
    (pair,) = select_preferences([TREE], tokenize)
    prompt = TREE.problem.prompt
    judge(tmp_path / "chain", ("ann", "reject", item_id(prompt, chain(longest, "completion"))))
    selector = Selector(tokenize, SelectionConfig(), load_judgements(tmp_path / "chain"))
    (second,) = selector.select_sft(TREE)
    assert thoughts_of(second, "completion") == ["plan", "one two three"]
    assert selector.rejections["sft: chain that annotators reject"] == 1

    judge(tmp_path / "pair", ("ann", "reject", item_id(prompt, chain(pair, "chosen"), chain(pair, "rejected"))))
    selector = Selector(tokenize, SelectionConfig(), load_judgements(tmp_path / "pair"))
    assert list(selector.select_preferences(TREE)) == []
    assert selector.rejections["preference: pair that annotators reject"] == 1
    assert select_preferences([TREE], tokenize, judgements=load_judgements(tmp_path / "chain")) == [pair]


def test_comments_survive_as_they_are(tmp_path):
    comment = '<script>alert(1)</script>\n"\u2028\x00 \U0001f600'
    JudgementLog(tmp_path).add(Judgement("x", "none", "ann", comment))
    assert JudgementLog(tmp_path).of("ann")["x"].comment == comment
    assert load_judgements(tmp_path).rejected == {}
    assert [json.loads(line)["comment"] for line in next(tmp_path.glob("*.jsonl")).open()] == [comment]
