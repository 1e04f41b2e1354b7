"""What is installed: every package and every file that the code reads, from the wheel and from the sdist alike."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
KEPT_OUT = ("tests/", "benchmarks/", "docs/", "recipes/", ".ci/")


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
