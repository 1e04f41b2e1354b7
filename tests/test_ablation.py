import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from hf_treecot.cli import ablation
from hf_treecot.evaluation.comparison import ladder, plot
from hf_treecot.hub.dataset import load_trees, read_tables
from hf_treecot.selection.selector import SelectionConfig, Selector

from .test_builder import small_build
from .test_selection import TREE, thoughts_of, tokenize


def pairs(choice, seed):
    selector = Selector(tokenize, SelectionConfig(preference="one_per_right_chain"))  # never the same pair twice
    return ablation.pairs([TREE], selector, choice, seed)


def figures(right, no_answer):
    return [
        {"task": "letters", "decoding": "greedy", "accuracy": right, "no_answer_rate": no_answer, "tokens": [9] * 4}
    ]


def test_table_and_plot_over_seeds(tmp_path):
    by_seed = [
        {"base": figures([1, 1, 0, 0], [0, 0, 0, 1]), "sft": figures([0, 0, 0, 0], [1, 1, 1, 1])},
        {"base": figures([1, 1, 1, 1], [0, 0, 0, 0]), "sft": figures([0, 0, 0, 0], [1, 1, 1, 1])},
    ]
    rows = ablation.rows_of_stages(["base", "sft"], by_seed)
    assert [row["accuracy"] for row in rows] == [0.75, 0.0]
    lines = ladder(rows).splitlines()
    assert lines[0] == "|  | letters, greedy |"
    assert lines[2].startswith("| before training | 75 % [25–100] (12 % [0–")
    assert lines[3] == "| SFT, trees | 0 % [0–0] (100 % [100–100]) |"
    plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_every_stage_is_in_a_table_and_has_a_trainer():
    assert {name for names in ablation.TABLES.values() for name in names} == set(ablation.STAGES)
    assert {stage.trainer for stage in ablation.STAGES.values()} == {"", "sft", "cdpo", "joint", "redi", "advantage"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("shortest", ["plan", "one"]),
        ("medium", ["plan", "one two three"]),
        ("longest", ["plan", "one two three", "four five six"]),
    ],
)
def test_the_chosen_chain_of_a_pair(choice, expected):
    (row,) = pairs(choice, 0)
    assert thoughts_of(row, "chosen") == expected
    assert thoughts_of(row, "rejected") == ["other plan", "x y"]


def test_pairs_at_branchings_are_all_that_selection_finds(tmp_path, tiny_model_directory):
    asyncio.run(small_build(tmp_path / "trees"))
    settings = SimpleNamespace(engines=SimpleNamespace(model=tiny_model_directory))
    directory = ablation.training_rows(tmp_path, ablation.STAGES["branchings"], 0, settings)
    rows = [row for table in read_tables(directory, "preference") for row in table.to_pylist()]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_directory)
    selector = Selector.of_tokenizer(tokenizer, SelectionConfig(preference="one_per_branching"))
    expected = [row for tree in load_trees(tmp_path / "trees") for row in selector.select_preferences(tree)]
    assert [(row["chosen"], row["rejected"]) for row in rows] == [(row["chosen"], row["rejected"]) for row in expected]
    assert len(rows) > len({row["tree_id"] for row in rows}) > 1  # one for every branching, not for every tree
    assert "branchings" in ablation.TABLES["Other selections and objectives (+ …: after SFT, trees)"]


def test_five_seeds_are_the_default():
    assert ablation.AblationArguments().seeds == 5


def test_a_random_chosen_chain_depends_on_the_seed_alone():
    chosen = [pairs("random", seed)[0]["chosen_length"] for seed in range(20)]
    assert len(set(chosen)) == 3
    assert chosen == [pairs("random", seed)[0]["chosen_length"] for seed in range(20)]


def test_stages_run_once(run, tmp_path, monkeypatch, tiny_model_directory):
    # The tiny model is never right: trees that a rule wrote stand in for its own.
    async def build_of_a_rule(settings):
        return await small_build(Path(settings.build.output_dir))

    monkeypatch.setattr(ablation, "build", build_of_a_rule)
    args = ["--model", tiny_model_directory, "--seeds", 1, "--num_evaluated", 2, "--max_new_tokens", 4]
    result = run("ablation", *args, "--output_dir", "run", "--stages", "base", "sft", "dpo", "masking")
    assert result.returncode == 0, result.stderr
    assert "| + masking |" in result.stdout
    directory = tmp_path / "run" / "seed-0"
    kept = {path: path.read_bytes() for path in (directory / "figures").iterdir()}
    assert {path.stem for path in kept} == {"base", "sft", "dpo", "masking"}
    assert len(json.loads(kept[directory / "figures" / "dpo.json"])) == 4
    monkeypatch.setattr("hf_treecot.evaluation.outputs.answer_all", None)  # nothing is answered again
    again = run("ablation", *args, "--output_dir", "run", "--stages", "base", "sft", "dpo", "masking")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is done") == 0
    assert (tmp_path / "run" / "ablation.png").exists()
    refused = run("ablation", *args, "--num_problems", 7, "--output_dir", "run")
    assert refused.returncode == 2
    assert "other settings" in refused.stderr
    monkeypatch.setattr(ablation, "identity", lambda model: "other weights")  # of the same name
    refused = run("ablation", *args, "--output_dir", "run")
    assert refused.returncode == 2
    assert "other weights" in refused.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--stages", "ppo"], "stages='ppo' is unknown: use some of base"),
        (["--seeds", "0"], "seeds=0 is out of range"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(run, tmp_path, args, message):
    result = run("ablation", "--output_dir", "run", *args)
    assert result.returncode == 2
    assert message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()
