"""The house stands as it is drawn: no circle, no arrow back, and nothing heavy where it is not needed."""

import re
import subprocess
import sys

import imports
import pytest


EARLY = ("base", "domains", "problems", "verifiers", "engines", "mcts", "selection")
OF_TORCH = (
    "local",
    "local_model",
    "local_worker",
    "local_rows",
    "sampling",
    "slot_cache",
    "small_decoder",
    "value_model",
)  # the embedded engine


def test_every_module_has_a_stage():
    assert {imports.stage_of(module) for module in imports.imports()} == set(range(len(imports.STAGES)))


def test_there_are_no_circles():
    assert imports.circles(imports.imports()) == []
    assert imports.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b", "c", "a"]]


def test_no_module_imports_a_later_stage():
    assert imports.wrong_arrows(imports.imports()) == []
    assert imports.wrong_arrows({"mcts.tree": {"hub.push"}, "trainers.redi": {"evaluation.metrics"}}) == [
        ("mcts.tree", "hub.push"), ("trainers.redi", "evaluation.metrics"),
    ]  # fmt: skip


def loaded_by(code, *names):
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(); print(*(set({names}) & set(sys.modules)))"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1].split()  # lm-eval prints when it is imported


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "transformers", "trl", "datasets", "lighteval", "gradio", "numpy")
    assert loaded_by("import hf_treecot; assert hf_treecot.__version__", *heavy) == []


@pytest.mark.parametrize("room", [*EARLY, "rewards"])
def test_everything_up_to_selection_and_rewards_work_without_torch(room):
    modules = [f"hf_treecot.{module}" for module in imports.imports() if module.split(".")[0] == room]
    modules = [module for module in modules if module.removeprefix("hf_treecot.engines.") not in OF_TORCH]
    assert loaded_by("import " + ", ".join(modules), "torch") == []


def test_http_is_spoken_by_the_library_of_huggingface_hub():
    """Its major versions bring different ones, whose errors are not the same."""
    direct = re.compile(r"^\s*(?:import|from) httpx", re.MULTILINE)
    assert [path.name for path in imports.PACKAGE.rglob("*.py") if direct.search(path.read_text("utf-8"))] == []
