"""How far an annotator is, and how far annotators agree."""

import pytest


pytest.importorskip("gradio")

from hf_treecot.selection.judgements import Judgement, JudgementLog
from hf_treecot.space import judging
from hf_treecot.space.tree_index import open_trees

from .space import small_tree, write_run
from .test_dataset import damage_a_tree


CHAINS, PAIRS = judging.KINDS


@pytest.fixture
def index(tmp_path):
    run = write_run(tmp_path / "run", [small_tree(i, right=i % 4, wrong=(3 - i) % 4) for i in range(8)])
    damage_a_tree(run / "dataset", 7)
    return open_trees(str(run))


def test_progress_is_counted_by_what_is_listed(index, tmp_path):
    log = JudgementLog(tmp_path / "log")
    chains = [item for row in (1, 2, 3) for item in judging.items(index, row, CHAINS)]
    assert len(chains) == 6
    for item, verdict in zip(chains[:3], ("accept", "reject", "none"), strict=True):
        log.add(Judgement(item.item, verdict, "Ann"))
    log.add(Judgement("of another dataset", "accept", "Ann"))
    html = judging.progress_html(index, [1, 2, 3, 7], CHAINS, log.of("Ann"), chains[1])  # 7 is malformed
    assert "<b>3 of 6</b> judged · you accepted 1 and rejected 1 · this one: rejected" in html
    assert '<progress max="6" value="3"' in html
    assert "<b>0 of 2</b>" in judging.progress_html(index, [1, 2, 3], PAIRS, log.of("Ann"), None)
    assert "<b>0 of 0</b>" in judging.progress_html(index, [], PAIRS, {}, None)


def test_of_very_many_trees_only_the_place_is_said(index, monkeypatch):
    monkeypatch.setattr(judging, "TREES_A_STEP", 3)
    (item,) = judging.items(index, 1, CHAINS)
    html = judging.progress_html(index, [0, 1, 2, 3], CHAINS, {}, item)
    assert "tree 2 of 4" in html


def log_of(directory, verdicts):
    log = JudgementLog(directory)
    for person, said in verdicts.items():
        for number, verdict in enumerate(said):
            if verdict != "-":
                log.add(Judgement(f"item {number}", {"a": "accept", "r": "reject", "n": "none"}[verdict], person))
    return log


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"Ann": "aarr", "Bob": "aarr"}, (2, 4, 1.0, 1.0)),
        ({"Ann": "aaaa", "Bob": "aaaa"}, (2, 4, 1.0, 1.0)),
        # Krippendorff's own example of two observers and two categories: 10 articles, 6 times agreed.
        ({"Ann": "raraaraarr", "Bob": "aaaraarara"}, None),
        ({"Ann": "ar-", "Bob": "ra-", "Eve": "--a"}, (2, 2, 0.0, -0.5)),
        ({"Ann": "an", "Bob": "rn", "Eve": "a-"}, (3, 1, 1 / 3, 0.0)),
    ],
)
def test_agreement(tmp_path, verdicts, expected):
    found = judging.agreement(log_of(tmp_path, verdicts))
    if expected is None:
        pairs = list(zip(verdicts["Ann"], verdicts["Bob"], strict=True))
        ones = sum(side == "r" for pair in pairs for side in pair)
        differ = sum(a != b for a, b in pairs)
        alpha = 1 - 19 * differ / (ones * (20 - ones))  # the simple form for two observers, two categories, no gaps
        expected = (2, 10, 1 - differ / 10, alpha)
    assert tuple(found) == pytest.approx(expected)
    assert f"{found.annotators} annotators have {found.items} items in common" in judging.agreement_html(
        log_of(tmp_path / "again", verdicts)
    )


@pytest.mark.parametrize("verdicts", [{}, {"Ann": "ar"}, {"Ann": "a-", "Bob": "-r"}, {"Ann": "n", "Bob": "a"}])
def test_where_nobody_has_judged_the_same_nothing_is_said(tmp_path, verdicts):
    assert judging.agreement(log_of(tmp_path, verdicts)) is None
    assert judging.agreement_html(log_of(tmp_path / "again", verdicts)) == ""
