"""The area under the ROC curve: by hand, and as scikit-learn has it."""

import math
import random

import pytest

from hf_treecot.evaluation.value_figures import auc, auc_within, figures_table, value_figures
from hf_treecot.selection.values import value_rows

from .test_tree_advantage import grown_tree


def test_by_hand():
    assert auc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert auc([1, 2], [False, True]) == 1
    assert auc([1, 2], [True, False]) == 0
    assert math.isnan(auc([1, 2], [True, True]))
    assert math.isnan(auc([], []))


def test_as_scikit_learn_has_it():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(0)
    for digits in (1, 6):  # many ties, and none
        scores = [round(rng.random(), digits) for _ in range(300)]
        right = [rng.random() < score for score in scores]
        assert auc(scores, right) == pytest.approx(metrics.roc_auc_score(right, scores), rel=1e-12)


def test_only_pairs_of_one_group_count():
    scored = [("a", 0.9, True), ("a", 0.8, False), ("b", 0.1, True), ("b", 0.2, False), ("c", 0.0, True)]
    assert auc_within(scored) == 0.5  # one pair won, one lost; nothing to compare in c
    assert auc([score for _, score, _ in scored], [right for *_, right in scored]) == pytest.approx(2 / 6)


def test_figures_of_a_tree_by_hand():
    tree = grown_tree()
    tree.nodes[3].log_probability, tree.nodes[3].tokens = -0.1, 1
    rows = list(value_rows(tree))
    figures = value_figures(rows, [[0.2, 0.6, 0.9], [0.0, 0.0, 0.3], [0.0, 0.9]])
    # Values 1/3 and 1/2 are of no right thought; the answers are right, wrong, wrong.
    assert (figures["count_inner"], figures["count_answers"]) == (2, 3)
    assert math.isnan(figures["auc_inner_value"])
    assert figures["auc_answers_value"] == figures["auc_answers_within_value"] == 0.75
    assert figures["auc_answers_depth"] == 0.25  # the second wrong answer has fewer thoughts before it
    assert "auc_answers_log_probability" not in figures  # not known of all
    assert "| value |" in figures_table(figures)
    assert "log-probability" not in figures_table(figures)
