"""What comes with the package for the commands: YAML configurations by name, and help texts that take long to make."""

import difflib
import platform
from importlib.metadata import version
from pathlib import Path

from ..errors import InvalidInputError


CONFIGS = Path(__file__).parent / "configs"
HELP = Path(__file__).parent / "help"


def config_names() -> list[str]:
    """The packaged configurations: `build/demo`, `joint/qwen2.5-7b`, …"""
    return sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.glob("*/*.yaml"))


def find_config(name: str, command: str) -> Path:
    """
    A configuration by its path or its name.

    Args:
        name (`str`): The path of a YAML file, or a packaged one: `joint/qwen2.5-7b`, or `qwen2.5-7b` alone for those
            of the command itself.
        command (`str`): Which command asks.

    Raises:
        InvalidInputError: There is none; the message gives the nearest names.
    """
    return Path(name) if Path(name).is_file() else packaged_config(name, command)


def packaged_config(name: str, command: str = "") -> Path:
    """
    A configuration that comes with the package.

    Args:
        name (`str`): As `joint/qwen2.5-7b`, or `qwen2.5-7b` alone for those of the command.
        command (`str`, *optional*): Which command asks.

    Raises:
        InvalidInputError: There is none; the message gives the nearest names.
    """
    names = config_names()
    for candidate in (name, f"{command}/{name}"):
        if candidate in names:
            return CONFIGS / f"{candidate}.yaml"
    own = [other.partition("/")[2] for other in names if other.startswith(f"{command}/")]
    near = difflib.get_close_matches(name, [*own, *names], n=3, cutoff=0.5) or own or names
    raise InvalidInputError(
        f"config={name!r} is neither a file nor a packaged configuration: the nearest are {', '.join(near)} "
        "(treecot configs lists them)"
    )


def help_versions() -> str:
    """What a help text depends on."""
    python = ".".join(platform.python_version_tuple()[:2])
    libraries = (f"{name} {version(name)}" for name in ("trl", "transformers"))
    return f"# python {python}, {', '.join(libraries)}"


def packaged_help(command: str) -> str:
    """The help text of a command that comes with the package; empty if it is of other versions of the libraries."""
    path = HELP / f"{command}.txt"
    if not path.is_file():
        return ""
    versions, _, text = path.read_text(encoding="utf-8").partition("\n")
    return text if versions == help_versions() else ""
