import os
import random
import shutil
from dataclasses import asdict

import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, Qwen2Config

from hf_treecot.cli import select
from hf_treecot.errors import InvalidInputError
from hf_treecot.hub.dataset import FEATURES, DatasetWriter, load_trees, read_tables
from hf_treecot.hub.parquet_shards import write_shards
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig, search
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.difficulty import difficulty
from hf_treecot.selection.selector import SelectionConfig, Selector
from hf_treecot.starter.tokenizer import build_tokenizer

from .worlds import ScriptedEngine, verify_inline


CONFIG = SearchConfig(8, 2, 4, 2, max_depth=6)


def script(tag, chain, rng):
    return rf" \boxed{{{rng.choice((2, 3))}}}" if tag == "answer" else f" step {rng.randrange(9)}"


async def write_small(directory):
    engine = ScriptedEngine(script)
    trees = [
        await search(
            problem, load_pattern("reflection"), {"generator": engine, "critic": engine}, verify_inline, CONFIG,
            random.Random(i),
        )
        for i, problem in enumerate(generate_problems("letters", 8, seed=0))
    ]  # fmt: skip
    selector = Selector(
        lambda text: list(text.encode()), SelectionConfig(preference="one_per_right_chain", steps="all")
    )
    with DatasetWriter(directory) as writer:
        for tree in trees:
            tree.provenance = {"seed": "0"}
            writer.write("trees", tree.to_record())
            for row in selector.select_sft(tree):
                writer.write("sft", row)
            for row in selector.select_preferences(tree):
                writer.write("preference", row)
            for row in selector.select_steps(tree):
                writer.write("steps", row)
    return trees, writer.counts


def damage_a_tree(dataset, row):
    """Make a thought its own parent."""
    (file,) = (dataset / "trees").glob("*.parquet")
    table = pyarrow.parquet.read_table(file)
    rows = table.to_pylist()
    rows[row]["nodes"][3]["parent"] = 3
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, table.schema), file)


async def test_load_dataset_reads_every_config_and_trees_come_back_whole(tmp_path):
    trees, counts = await write_small(tmp_path / "dataset")
    for config, features in FEATURES.items():
        dataset = load_dataset(str(tmp_path / "dataset"), config, split="train")
        assert dataset.features == features
        assert len(dataset) == counts[config] > 0
    assert list(load_trees(tmp_path)) == trees
    assert list(load_trees(tmp_path / "dataset")) == trees
    row = load_dataset(str(tmp_path / "dataset"), "preference", split="train")[0]
    assert row["chosen"][0]["role"] == "assistant"
    found = difficulty(next(tree for tree in trees if tree.tree_id == row["tree_id"]))
    assert {name: row[name] for name in asdict(found)} == asdict(found)
    assert found.first_success >= 1
    assert row["prompt"][0]["content"] == trees[0].problem.prompt or row["tree_id"] != trees[0].tree_id


async def test_trees_of_an_older_version_load_and_its_rows_are_refused_with_a_remedy(tmp_path):
    trees, _ = await write_small(tmp_path / "dataset")
    for config in ("sft", "preference"):
        (file,) = (tmp_path / "dataset" / config).glob("*.parquet")
        rows = pyarrow.parquet.read_table(file)
        pyarrow.parquet.write_table(rows.drop_columns(["first_success", "pass_rate", "pass_rate_variation"]), file)
        with pytest.raises(InvalidInputError, match="has no column 'first_success'.*or older: select its rows again"):
            list(read_tables(tmp_path / "dataset", config))
    (file,) = (tmp_path / "dataset" / "trees").glob("*.parquet")
    rows = pyarrow.parquet.read_table(file).to_pylist()
    for row in rows:
        del row["statistics"]["malformed"]
        for node in row["nodes"]:
            del node["reasoning"]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert list(load_trees(tmp_path)) == trees
    for config in ("sft", "preference"):
        shutil.rmtree(tmp_path / "dataset" / config)
    write_shards(tmp_path / "dataset", tmp_path / "published", test_fraction=0.0)
    assert list(load_trees(tmp_path / "published")) == trees


async def test_another_dataset_of_the_same_name_is_not_taken_from_the_cache(tmp_path):
    for run, number in (("a", 1), ("b", 2), ("a", 3)):
        with DatasetWriter(tmp_path / run / "dataset") as writer:
            writer.write("sft", {"prompt": [], "completion": [], "tree_id": f"{number}", "length": 1, "rank": 0})
        rows = load_dataset(str(tmp_path / run / "dataset"), "sft", split="train")
        assert rows["tree_id"] == [f"{number}"]


async def test_a_half_written_dataset_never_takes_the_place_of_a_whole_one(tmp_path):
    trees, _ = await write_small(tmp_path / "dataset")
    with pytest.raises(KeyError), DatasetWriter(tmp_path / "dataset") as writer:
        writer.write("trees", trees[0].to_record())
        raise KeyError("power cut")
    assert list(load_trees(tmp_path)) == trees


async def test_one_malformed_tree_is_refused_or_skipped_and_told(tmp_path):
    trees, _ = await write_small(tmp_path / "dataset")
    damage_a_tree(tmp_path / "dataset", 2)
    with pytest.raises(InvalidInputError, match="malformed .*node 3: its parent 3 must come before it"):
        list(load_trees(tmp_path))
    told = []
    assert list(load_trees(tmp_path, on_malformed=told.append)) == trees[:2] + trees[3:]
    assert [str(error).startswith(f"tree {trees[2].tree_id!r}: malformed") for error in told] == [True]


async def test_select_counts_malformed_trees(tmp_path, capsys):
    trees, _ = await write_small(tmp_path / "dataset")
    damage_a_tree(tmp_path / "dataset", 2)
    select.main([f"--trees={tmp_path}", f"--output_dir={tmp_path / 'again'}"])
    assert "left out: 1 x malformed tree" in capsys.readouterr().out
    assert list(load_trees(tmp_path / "again")) == trees[:2] + trees[3:]


def test_a_directory_without_a_dataset_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="there is no dataset; give the directory of a finished run"):
        load_trees(tmp_path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    tokenizer = build_tokenizer(["the count of"] * 100, ["<thinking>", "</thinking>", "<answer>", "</answer>"], 512)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    path = str(tmp_path_factory.mktemp("tiny"))  # DPOTrainer reads its reference model from there
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return AutoModelForCausalLM.from_pretrained(path), tokenizer


@pytest.mark.parametrize("config_name", ["sft", "preference"])
async def test_trl_trainers_take_the_rows_as_they_are(tmp_path, tiny, config_name):
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    await write_small(tmp_path / "dataset")
    rows = load_dataset(str(tmp_path / "dataset"), config_name, split="train")
    trainer_class, config_class = {"sft": (SFTTrainer, SFTConfig), "preference": (DPOTrainer, DPOConfig)}[config_name]
    arguments = config_class(
        output_dir=str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=2, learning_rate=1e-2,
        report_to="none", bf16=False, use_cpu=True, max_length=None, disable_tqdm=True,
    )  # fmt: skip
    model, tokenizer = tiny
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trainer = trainer_class(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    assert trainer.state.log_history[-1]["train_loss"] > 0
    assert any(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "trees").mkdir()
    os.mkfifo(tmp_path / "trees" / "train.parquet")
    with pytest.raises(InvalidInputError, match=r"train\.parquet of trees is not a file"):
        list(load_trees(tmp_path))
