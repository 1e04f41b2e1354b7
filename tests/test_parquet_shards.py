import pytest
from datasets import load_dataset

from hf_treecot.base import Problem
from hf_treecot.errors import InvalidInputError
from hf_treecot.hub.dataset import FEATURES, DatasetWriter
from hf_treecot.hub.parquet_shards import is_test_problem, write_shards
from hf_treecot.mcts.tree import Tree


def write(directory, count, prompt="Problem {}?"):
    with DatasetWriter(directory) as writer:
        for i in range(count):
            tree = Tree(Problem(f"p{i}", prompt.format(i // 2), "1"), "reflection")  # two trees of each text
            writer.write("trees", tree.to_record())
            row = {"prompt": [], "completion": [], "tree_id": tree.tree_id, "length": i, "rank": 0}
            writer.write("sft", row)
            writer.write("sft", {**row, "rank": 1})
    return directory


def test_shards_hold_every_row_once_and_problems_are_on_one_side(tmp_path):
    dataset = write(tmp_path / "dataset", 2000)
    counts = write_shards(dataset, tmp_path / "shards", test_fraction=0.2, max_shard_size=10_000)
    assert counts.keys() == {"trees", "sft"}  # there are no pairs
    assert counts["trees"]["train"] + counts["trees"]["test"] == 2000
    assert 300 < counts["trees"]["test"] < 500
    names = [path.name for path in sorted((tmp_path / "shards" / "trees").glob("train-*"))]
    assert names == [f"train-{i:05d}-of-{len(names):05d}.parquet" for i in range(len(names))]
    assert len(names) > 1
    ids = {}
    for config in counts:
        for split in ("train", "test"):
            files = str(tmp_path / "shards" / config / f"{split}-*.parquet")
            rows = load_dataset("parquet", data_files=files, split="train")
            assert rows.features == FEATURES[config]
            ids[config, split] = rows["tree_id"] if config == "sft" else list(zip(rows["tree_id"], rows["problem"]))
    for split in ("train", "test"):
        assert list(ids["sft", split]) == [i for i, _ in ids["trees", split] for _ in range(2)]
    texts = [{problem["prompt"] for _, problem in ids["trees", split]} for split in ("train", "test")]
    assert not texts[0] & texts[1]


def test_the_same_dataset_gives_the_same_bytes(tmp_path):
    dataset = write(tmp_path / "dataset", 50)
    for name in ("a", "b"):
        write_shards(dataset, tmp_path / name, test_fraction=0.5)
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")}
        for name in ("a", "b")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 4


def test_the_split_is_a_matter_of_the_text_alone():
    texts = [f"What is {i} + {i}?" for i in range(1000)]
    tests = {text for text in texts if is_test_problem(text, 0.1)}
    assert 60 < len(tests) < 140
    assert tests <= {text for text in texts if is_test_problem(text, 0.2)}
    assert all(is_test_problem(f"  {text}\n", 0.1) for text in tests)
    assert not any(is_test_problem(text, 0.0) for text in texts)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_bad_fractions_are_refused(tmp_path, fraction):
    with pytest.raises(InvalidInputError, match="test_fraction="):
        write_shards(tmp_path, tmp_path / "shards", test_fraction=fraction)
