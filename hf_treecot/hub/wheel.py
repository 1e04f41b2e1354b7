"""The wheel of this very version of the package, made from what is installed: for a Space that waits for no release.

From a clone or from site-packages alike, without a build and without a network; the same files give the same bytes.
"""

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution, distribution
from importlib.resources import files
from pathlib import Path


# In a clone these stand at the top of the repository; see `package-dir` in pyproject.toml.
MAPPED = ("hf_treecot.dataset_cards", "hf_treecot.space.shell")
METADATA = {"METADATA": "PKG-INFO", "entry_points.txt": "", "licenses/LICENSE": ""}  # and their names in a clone
WHEEL = "Wheel-Version: 1.0\nGenerator: hf_treecot\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
TIME = (1980, 1, 1, 0, 0, 0)


def write_wheel(directory: Path) -> Path:
    """
    Write the wheel.

    Args:
        directory (`Path`): Where it goes.

    Returns:
        `Path`: `hf_treecot-VERSION-py3-none-any.whl`.
    """
    installed = distribution("hf-treecot")
    content = {**_package_files(), **_metadata_files(installed)}
    info = f"hf_treecot-{installed.version}.dist-info"
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(content.items())]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = directory / f"hf_treecot-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in sorted(content.items()):
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            wheel.writestr(entry, data)
    return path


def _package_files() -> dict[str, bytes]:
    found = {}
    for package in ("hf_treecot", *MAPPED):
        root, prefix = Path(str(files(package))), package.replace(".", "/")
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                found[f"{prefix}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return found


def _metadata_files(installed: Distribution) -> dict[str, bytes]:
    info = f"hf_treecot-{installed.version}.dist-info"
    texts = {name: installed.read_text(name) or installed.read_text(other) for name, other in METADATA.items()}
    found = {f"{info}/{name}": text.encode() for name, text in texts.items() if text}
    return {**found, f"{info}/WHEEL": WHEEL.encode()}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
