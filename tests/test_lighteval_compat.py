import subprocess
import sys

import pytest
import torch


pytest.importorskip("lighteval", reason="lighteval is not installed")
from hf_treecot.evaluation import lighteval_compat as compat


def test_the_installed_lighteval_is_made_to_work_once(tmp_path, monkeypatch, capsys):
    metadata, download = tmp_path / "METADATA", tmp_path / "tinyBenchmarks.pkl"
    metadata.write_text("Name: lighteval\nRequires-Dist: latex2sympy2_extended==1.0.6\nRequires-Dist: rich\n")
    monkeypatch.setattr(compat, "metadata_path", lambda: metadata)
    monkeypatch.setattr(compat, "download_path", lambda: download)
    compat.main()
    assert metadata.read_text().splitlines()[1] == "Requires-Dist: latex2sympy2_extended>=1.0.6"
    assert download.read_bytes() == b""
    assert len(capsys.readouterr().out.splitlines()) == 2
    download.write_bytes(b"their data")
    compat.main()
    assert download.read_bytes() == b"their data"
    assert capsys.readouterr().out == ""


def test_the_paths_are_those_of_lighteval():
    assert "latex2sympy2_extended" in compat.metadata_path().read_text()
    assert (compat.download_path().parent / "tiny_benchmarks.py").is_file()


def test_tasks_load_without_a_network():
    code = (
        "from hf_treecot.evaluation import lighteval_compat; lighteval_compat.prepare()\n"
        "from lighteval.tasks.registry import Registry\n"
        "registry = Registry('treecot:letters|0,gsm8k|0', custom_tasks='hf_treecot.evaluation.tasks')\n"
        "print(*sorted(registry.load_tasks()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["gsm8k|0", "treecot:letters|0"], result.stderr


def test_zeros_of_averages_are_taken_out():
    aggregated = {
        "a|0": {"accuracy": 1.0, "accuracy_low": 0.5, "turn_1": 0.3},
        "b|0": {"accuracy": 0.5, "accuracy_low": 0.1, "turn_1": 0.0},
        "x:_average|0": {"accuracy": 0.75, "turn_1": 0.15},
    }
    compat.drop_foreign_metrics(aggregated, {"a|0": ["accuracy", "turn_1"], "b|0": ["accuracy"]})
    assert aggregated["a|0"] == {"accuracy": 1.0, "accuracy_low": 0.5, "turn_1": 0.3}
    assert aggregated["b|0"] == {"accuracy": 0.5, "accuracy_low": 0.1}
    assert aggregated["x:_average|0"] == {"accuracy": 0.75}


def test_gradients_stay_on():
    compat.prepare()
    import lighteval.pipeline  # noqa: F401

    assert torch.is_grad_enabled()
