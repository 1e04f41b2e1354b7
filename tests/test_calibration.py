import math

import pytest

from hf_treecot.evaluation.calibration import (
    SIGNALS,
    calibration_figures,
    calibration_names,
    confidences,
    reliability,
    selective_accuracy,
)
from hf_treecot.evaluation.calibration_report import calibrated, plot_calibration, write_calibration
from hf_treecot.evaluation.voting import Vote


VOTES = [
    Vote("42", "a", -2.0, 0.75), Vote("41", "b", -8.0, 0.5, count=2), Vote(None, "c"), Vote("42", "d", -1.0, 1.25)
]  # fmt: skip


def test_confidences_of_the_answer_that_is_given():
    found = confidences(VOTES, [4, 8, 9, 2], 0)
    assert found["agreement"] == 2 / 5  # a chain that was drawn twice has two votes, no answer has one too
    assert found["log_probability"] == pytest.approx(math.exp(-0.5))
    assert found["value"] == 0.75
    assert confidences(VOTES, [4, 8, 9, 2], 3)["value"] == 1.0


def test_what_is_not_known_and_no_answer():
    unknown = confidences([Vote("42", "a"), Vote("42", "b")], [0, 0], 0)
    assert unknown["agreement"] == 1.0
    assert math.isnan(unknown["log_probability"])
    assert math.isnan(unknown["value"])
    assert all(map(math.isnan, confidences([Vote(None, "a")], [3], None).values()))


def test_figures_of_a_problem():
    figures = calibration_figures({"agreement": 0.75, "log_probability": math.nan, "value": 0.5}, 1.0)
    assert set(figures) == set(calibration_names())
    assert figures["brier_agreement"] == 0.0625
    assert figures["selective_agreement"] == [0.75, 1.0]
    assert math.isnan(figures["brier_log_probability"])
    assert math.isnan(calibration_figures(dict.fromkeys(SIGNALS, 0.5), math.nan)["brier_value"])


@pytest.mark.parametrize(
    ("pairs", "accuracy"),
    [
        ([[0.9, 1.0], [0.8, 1.0], [0.2, 0.0], [0.1, 0.0]], 1.0),
        ([[0.9, 0.0], [0.8, 0.0], [0.2, 1.0], [0.1, 1.0]], 0.0),
        ([[0.5, 1.0], [0.5, 0.0], [0.5, 0.0], [0.5, 0.0]], 0.25),  # no choice among equals
        ([[0.9, 1.0], [0.5, 1.0], [0.5, 0.0], [0.1, 0.0]], 0.75),
        ([[0.9, 1.0], [math.nan, 0.0], [0.8, math.nan], [0.1, 0.0]], 1.0),
        ([[0.7, 0.0]], 0.0),
    ],
)
def test_accuracy_of_the_most_certain_half(pairs, accuracy):
    result = selective_accuracy(pairs)
    assert result.value == pytest.approx(accuracy)
    assert result.low <= result.value <= result.high


def test_nothing_known_has_no_accuracy():
    assert math.isnan(selective_accuracy([[math.nan, 1.0]]).value)


def test_points_of_a_reliability_diagram():
    pairs = [[0.1, 0.0], [0.15, 1.0], [0.95, 1.0], [1.0, 1.0], [math.nan, 1.0]]
    low, high = reliability(pairs)
    assert low == (pytest.approx(0.125), 0.5, 2)
    assert high == (pytest.approx(0.975), 1.0, 2)
    assert reliability([]) == []


def test_the_report(tmp_path):
    row = {"model": "m", "decoding": "sample", "task": "t", "count": 4, "reliability": {}}
    for name in ("brier_agreement", "selective_agreement"):
        row |= {name: 0.25, f"{name}_low": 0.2, f"{name}_high": 0.3}
    known = row | {"reliability": {"agreement": [(0.5, 0.5, 2), (1.0, 1.0, 2)]}}
    assert calibrated([row, known]) == [known]
    text = write_calibration([row, known])
    assert "| m | sample | t (4) | 75.0 | agreement | 0.250 (0.200 to 0.300) | 25.0 (20.0 to 30.0) |" in text
    assert text.count("| m |") == 1
    plot_calibration([row, known], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000
