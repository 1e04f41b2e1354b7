"""What every recipe does first: read its arguments from the command line and a YAML file, and refuse bad ones.

Recipes exit with 2 and one line on standard error when the user's input is wrong.
"""

import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any, TypeVar

from .errors import InvalidInputError


Arguments = TypeVar("Arguments")


def parse(arguments: type[Arguments], description: str | None, args: list[str] | None = None) -> Arguments:
    """
    Arguments of a recipe: those of the command line, else of `--config FILE.yaml`, else the defaults.

    Args:
        arguments (`type`): A dataclass with a `help` in the metadata of every field.
        description (`str`): What `--help` says of the recipe.
        args (`list[str]`, *optional*): Instead of the command line.

    Returns:
        An instance of `arguments`. Exits with 2 for an unknown or malformed argument or key.
    """
    from trl import TrlParser

    parser = TrlParser(arguments, description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.epilog = "--config FILE.yaml sets any of these; the command line overrides it."
    try:
        return parser.parse_args_and_config(args)[0]
    except FileNotFoundError as error:
        fail(f"config {error.filename!r} does not exist: give the path of a YAML file")
    except IndexError:
        fail("--config needs the path of a YAML file")
    except Exception as error:  # a YAML error, an unknown key, or what a dataclass refuses
        if isinstance(error, (ValueError, TypeError)) or type(error).__module__.startswith("yaml"):
            fail(" ".join(str(error).split()))
        raise


def run(main: Callable[[], Any], resume: str = "") -> Any:
    """
    Run a recipe's body.

    Args:
        main (`Callable`): The body.
        resume (`str`): What to say after Ctrl-C.

    Returns:
        What `main` returns. Exits with 2 for an [`InvalidInputError`], with 130 after Ctrl-C.
    """
    try:
        return main()
    except InvalidInputError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print(f"\nInterrupted. {resume}".rstrip(), file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> None:
    """One line on standard error, and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
