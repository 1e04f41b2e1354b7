import json

import pytest

from hf_treecot.errors import InvalidInputError
from hf_treecot.hub.evaluation_results import read_results


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_figures_of_the_last_file_of_each_directory(tmp_path):
    old = {"results": {"treecot:letters|0": {"accuracy": 0.1}}}
    new = {
        "results": {
            "treecot:letters|0": {"accuracy": 0.5, "accuracy_stderr": 0.1, "no_answer_rate": float("nan")},
            "gsm8k|5": {"extractive_match": 1},
            "all": {"accuracy": 0.3},
        },
        "config_tasks": {"gsm8k|5": {"hf_repo": "openai/gsm8k", "hf_subset": "main", "evaluation_splits": ["test"]}},
    }
    write(tmp_path / "m" / "results_2026-01-01.json", old)
    write(tmp_path / "m" / "results_2026-01-02.json", new)
    gsm8k, letters = read_results([tmp_path])
    assert (letters.task_name, letters.metric_type, letters.metric_value) == ("treecot:letters", "accuracy", 0.5)
    assert (letters.dataset_type, letters.dataset_args) == ("treecot/letters", {"num_few_shot": 0})
    assert (gsm8k.dataset_type, gsm8k.dataset_config, gsm8k.dataset_split) == ("openai/gsm8k", "main", "test")
    assert gsm8k.dataset_args == {"num_few_shot": 5}
    assert read_results([]) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; give lighteval's results"),
        ("{", "it is not a results file of lighteval"),
        ("[]", "it is not a results file of lighteval"),
        ({"results": {"a|0": 3}}, "it is not a results file of lighteval"),
        ({"results": {"a|0": {"accuracy": "high"}}}, "it holds no figures; run the evaluation again"),
    ],
)
def test_what_holds_no_results_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "results_1.json"
    if content is not None:
        write(path, content)
    with pytest.raises(InvalidInputError) as error:
        read_results([path])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_directory_without_results_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"there is no results_\*.json"):
        read_results([tmp_path])
