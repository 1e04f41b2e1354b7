import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hf_treecot


README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", hf_treecot.__all__)
def test_every_public_name_is_there_and_hidden_by_no_module(name):
    assert callable(getattr(hf_treecot, name))
    assert name not in {module.name for module in pkgutil.iter_modules(hf_treecot.__path__)}


def test_commits_are_checked_by_the_linter_that_is_installed():
    hooks = (README.parent / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    constraints = (README.parent / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"ruff-pre-commit\s+rev: v(\S+)", hooks)[1] == re.search(r"^ruff==(\S+)$", constraints, re.M)[1]


def test_importing_the_package_imports_no_torch():
    code = "import sys, hf_treecot; assert hf_treecot.__version__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.training
def test_the_example_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if "async def main" in block)
    result = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "<answer>" in result.stdout
