"""What is installed: every package and every file that the code reads, from the wheel and from the sdist alike."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from .installed_only import OWNERS, closure


ROOT = Path(__file__).parents[1]
KEPT_OUT = ("tests/", "benchmarks/", "docs/", "recipes/", ".ci/")
MODULES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "hf_treecot").rglob("*.py"))
# Where more than the package's own requirements may be imported, and the extra that brings it. Of the rest, everything
# can be imported without any extra.
EXTRAS = {
    "hf_treecot/building/sharding.py": "scale",
    "hf_treecot/cli/scale.py": "scale",
    "hf_treecot/cli/serve.py": "serving",
    "hf_treecot/domains/instruction": "instructions",
    "hf_treecot/domains/nltk_data.py": "instructions",
    "hf_treecot/evaluation/engine_model.py": "lighteval",
    "hf_treecot/evaluation/inspect_": "evaluation",
    "hf_treecot/evaluation/lighteval_": "lighteval",
    "hf_treecot/evaluation/run.py": "lighteval",
    "hf_treecot/serving/": "serving",
    "hf_treecot/space/": "space",
    "hf_treecot/testing/": "testing",
}
ASKED_FOR_BY_NAME = {"lighteval", "ray", "spaces"}  # what is missing is said where it is used, with the remedy


def extra_of(module: str) -> str:
    return next((extra for start, extra in EXTRAS.items() if module.startswith(start)), "")


def build(kind: str, source: Path, directory: Path) -> Path:
    """A distribution, made by the project's own backend; what it leaves behind in the source is removed."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(directory)!r}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return directory / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The sdist, and the wheels of the checkout and of the sdist."""
    directory = tmp_path_factory.mktemp("distributions")
    checkout = directory / "checkout"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a checkout")
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    sdist = build("sdist", checkout, directory)
    with tarfile.open(sdist) as archive:
        archive.extractall(directory / "unpacked", filter="data")
    (unpacked,) = (directory / "unpacked").iterdir()
    wheels = []
    for name, source in (("of checkout", checkout), ("of sdist", unpacked)):
        (directory / name).mkdir()
        wheels.append(build("wheel", source, directory / name))
    return sdist, *wheels


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_sdist_makes_the_same_wheel(distributions):
    _, of_checkout, of_sdist = distributions
    assert of_checkout.name == of_sdist.name
    assert contents(of_checkout) == contents(of_sdist)


def test_every_file_of_the_package_is_in_the_wheel(distributions):
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "hf_treecot"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\0")
    expected = {name for name in tracked if name and (ROOT / name).is_file()}
    expected |= {
        f"hf_treecot/dataset_cards/{path.name}" for path in (ROOT / "dataset_cards").iterdir() if path.is_file()
    }
    expected |= {
        f"hf_treecot/space/shell/{path.name}" for path in (ROOT / "spaces/treecot").iterdir() if path.is_file()
    }
    found = {name for name in contents(distributions[1]) if ".dist-info/" not in name}
    assert sorted(expected - found) == []
    assert sorted(found - expected) == []


def test_the_sdist_holds_no_tests_since_they_need_the_whole_checkout(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert not [name for name in names if name.startswith(KEPT_OUT)]
    assert {"README.md", "pyproject.toml", "LICENSE"} <= set(names)


def test_the_wheel_names_its_commands(distributions):
    (entry_points,) = (text for name, text in contents(distributions[1]).items() if name.endswith("entry_points.txt"))
    assert {"treecot", "hf-treecot"} <= {line.split(" = ")[0] for line in entry_points.decode().splitlines()}


@pytest.mark.parametrize("extra", ["", *sorted(set(EXTRAS.values()))])
def test_nothing_is_imported_that_is_not_asked_for(extra):
    """Anywhere, in functions too."""
    distributions = closure("hf-treecot", [extra])
    modules = [module for module in MODULES if extra_of(module) == extra]
    assert modules
    for module in modules:
        for node in ast.walk(ast.parse((ROOT / module).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for name in {name.partition(".")[0] for name in names} - ASKED_FOR_BY_NAME:
                if name not in sys.stdlib_module_names:
                    owners = {canonicalize_name(owner) for owner in OWNERS.get(name, ())}
                    assert owners & distributions, f"{module}:{node.lineno} imports {name}"


@pytest.mark.parametrize("extra", ["", "evaluation", "serving", "space", "testing"])
def test_what_is_asked_for_is_enough(extra):
    """Every module is imported as if nothing else were installed."""
    modules = [module for module in MODULES if extra_of(module) == extra and not module.endswith("__main__.py")]
    names = [module.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for module in modules]
    script = str(ROOT / "tests" / "installed_only.py")
    result = subprocess.run([sys.executable, script, extra, *names], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
