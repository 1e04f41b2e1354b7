"""The app of a Space: all of it is in the package, whose wheel lies beside this file."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


if find_spec("hf_treecot") is None:  # a private Space: what builds it cannot read its wheel
    wheels = map(str, Path(__file__).parent.glob("hf_treecot-*.whl"))
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *wheels], check=True)  # noqa: S603

from hf_treecot.space.app import serve
from hf_treecot.space.arguments import SpaceArguments


if __name__ == "__main__":
    serve(SpaceArguments())
