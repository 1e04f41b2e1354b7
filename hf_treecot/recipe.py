"""What every recipe does first: read its arguments from the command line and a YAML file, and refuse bad ones.

Recipes exit with 2 and one line on standard error when the user's input is wrong.
"""

import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

import yaml
from trl import TrlParser

from .errors import EngineError, EnginesDownError, HubError, InvalidInputError


PLAIN = {bool, int, float, str, list[str], NoneType}


class RecipeParser(TrlParser):
    """[`~trl.TrlParser`] that also checks the types of what a YAML file sets: argparse checks only text."""

    def set_defaults_with_config(self, **config) -> list[str]:
        """As TRL's; a lone string where a list is asked for becomes one."""
        for arguments in self.dataclass_types:
            for name, annotation in get_type_hints(arguments).items():
                if name in config:
                    config[name] = _checked(name, config[name], annotation)
        return super().set_defaults_with_config(**config)

    def error(self, message: str) -> NoReturn:
        """One line: the usage of a training recipe alone fills a screen."""
        fail(f"{message} (--help lists the arguments)")


def _checked(name: str, value: Any, annotation: Any) -> Any:
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    if not PLAIN.issuperset(kinds) or (isinstance(value, str) and kinds != (list[str],)):
        return value  # argparse reads text, as it does on the command line; TRL's own kinds are TRL's to check
    if kinds == (list[str],) and isinstance(value, str):
        return [value]
    if value is None and NoneType in kinds:
        return value
    if isinstance(value, list) and list[str] in kinds and all(isinstance(item, str) for item in value):
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if type(value) in kinds or (number and float in kinds):
        return value
    if number and str in kinds:
        return str(value)
    wanted = " or ".join("empty" if kind is NoneType else getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise InvalidInputError(
        f"{name}={value!r} in the YAML file: it must be {wanted.replace('list', 'a list of text')}"
    )


def parse(arguments: type | tuple[type, ...], description: str | None, args: list[str] | None = None) -> Any:
    """
    Arguments of a recipe: those of the command line, else of `--config FILE.yaml`, else the defaults.

    Args:
        arguments (`type` or `tuple[type]`): A dataclass with a `help` in the metadata of every field, or several.
        description (`str`): What `--help` says of the recipe.
        args (`list[str]`, *optional*): Instead of the command line.

    Returns:
        An instance of `arguments`, or a tuple of them. Exits with 2 for an unknown or malformed argument or key.
    """
    parser = RecipeParser(arguments, description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.epilog = "--config FILE.yaml sets any of these; the command line overrides it."
    try:
        parsed = parser.parse_args_and_config(args)
    except IndexError:
        fail("--config needs the path of a YAML file")
    except OSError as error:
        fail(f"config {error.filename!r} cannot be read ({error.strerror}): give the path of a YAML file")
    except (InvalidInputError, ValueError, TypeError, yaml.YAMLError) as error:  # or what a dataclass refuses
        fail(" ".join(str(error).split()))
    return parsed if isinstance(arguments, tuple) else parsed[0]


def run(main: Callable[[], Any], resume: str = "") -> Any:
    """
    Run a recipe's body.

    Args:
        main (`Callable`): The body.
        resume (`str`): What to say after Ctrl-C.

    Returns:
        What `main` returns. Exits with 2 for an [`InvalidInputError`], with 1 for a [`HubError`], with 3 if a model or
        its servers failed, with 130 after Ctrl-C.
    """
    try:
        return main()
    except InvalidInputError as error:
        fail(str(error))
    except HubError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except (EngineError, EnginesDownError) as error:
        print(f"error: {error}\n{resume}".rstrip(), file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        print(f"\nInterrupted. {resume}".rstrip(), file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> NoReturn:
    """One line on standard error, and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
