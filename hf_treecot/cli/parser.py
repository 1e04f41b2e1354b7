"""What every command does first: read its arguments from the command line and a YAML file, and refuse bad ones.

Commands exit with 2 and one line on standard error when the user's input is wrong.
"""

import copy
import difflib
import inspect
import math
import sys
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from trl import TrlParser

from ..errors import EngineError, EnginesDownError, HubError, InvalidInputError
from ..files import read_yaml
from .packaged import find_config


PLAIN = {bool, int, float, str, list[str], NoneType}
LONGEST_MESSAGE = 490  # characters


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Descriptions as they are written, and the defaults that say something."""

    def _get_help_string(self, action):
        return action.help if action.default in (None, [], "") else super()._get_help_string(action)

    def _format_action_invocation(self, action):
        action = copy.copy(action)
        if action.option_strings[:1] != ["-h"]:  # `--a-b` is the same as `--a_b`
            action.option_strings = action.option_strings[:1]
        return super()._format_action_invocation(action)


class CommandParser(TrlParser):
    """
    [`~trl.TrlParser`] that also checks the types of what a YAML file sets (argparse checks only text), takes no
    abbreviations, and shows arguments in groups: one for every class that declares some.
    """

    def __init__(self, dataclass_types: tuple[type, ...], **kwargs):
        self._owners = {
            name: owner
            for arguments in dataclass_types
            for owner in reversed(arguments.__mro__)
            for name in inspect.get_annotations(owner)
        }
        self._groups: dict[type, Any] = {}
        super().__init__(dataclass_types, formatter_class=HelpFormatter, allow_abbrev=False, **kwargs)

    def add_argument(self, *names, **options):
        """As argparse's, in the group of the class that declares the argument."""
        owner = self._owners.get(names[0].lstrip("-").replace("-", "_")) or self._owners.get(options.get("dest"))
        if owner is None:
            return super().add_argument(*names, **options)
        if not self._groups:  # ours first: a library's fill screens
            owners = sorted(dict.fromkeys(self._owners.values()), key=lambda owner: not _is_ours(owner))
            self._groups = {owner: self.add_argument_group(_title(owner)) for owner in owners}
        return self._groups[owner].add_argument(*names, **options)

    def set_defaults_with_config(self, **config) -> list[str]:
        """As TRL's; a lone string where a list is asked for becomes one."""
        for arguments in self.dataclass_types:
            for name, annotation in get_type_hints(arguments).items():
                if name in config:
                    config[name] = _checked(name, config[name], annotation)
        return super().set_defaults_with_config(**config)

    def error(self, message: str) -> NoReturn:
        """One line: the usage of a training command alone fills a screen."""
        fail(f"{message} (--help lists the arguments)")


def _is_ours(owner: type) -> bool:
    return owner.__module__.partition(".")[0] == __package__.partition(".")[0]


def _title(owner: type) -> str:
    """What a group of arguments is called: by the docstring of a class for arguments alone, else by its name."""
    summary = owner.__doc__.strip().split("\n")[0].rstrip(".")
    return (
        summary if _is_ours(owner) and "`" not in summary else f"{owner.__name__} of {owner.__module__.split('.')[0]}"
    )


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


def parse(
    command: str, arguments: type | tuple[type, ...], description: str | None, args: list[str] | None = None
) -> Any:
    """
    Arguments of a command: those of the command line, else of `--config`, else the defaults.

    Args:
        command (`str`): Its name, after `treecot`; where packaged configurations are looked for.
        arguments (`type` or `tuple[type]`): A dataclass with a `help` in the metadata of every field, or a tuple of
            them.
        description (`str`): What `--help` says of the command.
        args (`list[str]`, *optional*): Instead of the command line.

    Returns:
        An instance of `arguments`, or a tuple of them. Exits with 2 for an unknown or malformed argument or key.
    """
    args = list(sys.argv[1:] if args is None else args)
    parser = make_parser(command, arguments, description)
    try:
        if {"-h", "--help"}.isdisjoint(args):  # which says the same everywhere
            parser.set_defaults(**_defaults_here(parser))
        args = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--config=") else [arg])]
        if "--config" in args:
            place = args.index("--config") + 1
            args[place] = str(find_config(args[place], command))
            _check_keys(read_yaml(Path(args[place])), args[place], parser)  # before they reach the parser
        *parsed, unknown = parser.parse_args_and_config(args, return_remaining_strings=True)
        if unknown:
            raise InvalidInputError(_not_known(unknown[0], parser))
        for value in parsed:
            _check_values(value, parser)
    except IndexError:
        fail("--config needs the path of a YAML file, or the name of a packaged one (treecot configs lists them)")
    except OSError as error:
        fail(f"config {error.filename!r} cannot be read ({error.strerror}): give the path of a YAML file")
    except (ValueError, TypeError) as error:  # an InvalidInputError is a ValueError
        fail(" ".join(str(error).split()))
    return tuple(parsed) if isinstance(arguments, tuple) else parsed[0]


def _defaults_here(parser: CommandParser) -> dict[str, Any]:
    """TRL computes in bfloat16 if it is not told otherwise; where that cannot be, it is not asked for."""
    if "bf16" not in parser._owners:
        return {}
    from transformers.utils import is_torch_bf16_gpu_available, is_torch_xla_available

    return {} if is_torch_bf16_gpu_available() or is_torch_xla_available() else {"bf16": False}


def _check_keys(content: Any, path: str, parser: CommandParser) -> None:
    """What TRL's parser would obey, or stumble over."""
    known = {action.dest for action in parser._actions}
    for key in content if isinstance(content, dict) else ():
        if not isinstance(key, str):
            raise InvalidInputError(f"config {path!r}: the key {key!r:.50} is no text: write the name of an argument")
        if key == "env":  # would set variables of the environment, LD_PRELOAD among them
            raise InvalidInputError(f"config {path!r}: env is no argument: set environment variables in your shell")
        if key not in known:
            raise InvalidInputError(f"config {path!r}: {_not_known(f'--{key}', parser).replace('--', '', 1)}")


def _check_values(arguments: Any, parser: CommandParser) -> None:
    """What no command can use: numbers that are none, and names that are empty."""
    defaults = {field.name: field.default for field in fields(arguments)}
    for name, given in vars(arguments).items():
        # What an empty text means to a library is its own affair.
        is_ours = name == "output_dir" or (name in parser._owners and _is_ours(parser._owners[name]))
        may_be_empty = not is_ours or given == defaults.get(name)
        for value in given if isinstance(given, list | tuple) else [given]:
            if isinstance(value, str) and not value.strip() and not may_be_empty:
                raise InvalidInputError(f"{name}={value!r} is empty: give it a value, or leave it out")
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidInputError(f"{name}={value} is out of range: it must be a finite number")


def _not_known(word: str, parser: CommandParser) -> str:
    if not word.startswith("--"):
        return f"{word!r} belongs to no argument: write --NAME VALUE (--help lists the arguments)"
    names = [option for action in parser._actions for option in action.option_strings[:1]]
    near = difflib.get_close_matches(
        word.partition("=")[0].replace("-", "_").replace("__", "--", 1), names, n=2, cutoff=0.75
    )
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown argument {word}: {guess}(--help lists them all)"


def make_parser(command: str, arguments: type | tuple[type, ...], description: str | None) -> CommandParser:
    """The parser of a command; see [`parse`]."""
    kinds = arguments if isinstance(arguments, tuple) else (arguments,)
    parser = CommandParser(kinds, prog=f"treecot {command}", description=description, usage=f"treecot {command} [--…]")
    parser.epilog = (
        "--config FILE.yaml (or the name of a packaged one: treecot configs) sets any of these; the command line "
        "overrides it."
    )
    return parser


def run(main: Callable[[], Any], resume: str = "") -> Any:
    """
    Run a command's body.

    Args:
        main (`Callable`): The body.
        resume (`str`): What to say after Ctrl-C.

    Returns:
        What `main` returns. Exits with 2 for an [`InvalidInputError`], with 1 for a [`HubError`] or an `OSError` (such
        as a full disk), with 3 if a model or its servers failed, with 130 after Ctrl-C.
    """
    try:
        return main()
    except InvalidInputError as error:
        fail(str(error))
    except HubError as error:
        print(f"error: {shorten(str(error))}", file=sys.stderr)
        sys.exit(1)
    except (EngineError, EnginesDownError) as error:
        print(f"error: {shorten(str(error))}\n{resume}".rstrip(), file=sys.stderr)
        sys.exit(3)
    except OSError as error:  # a full disk, a directory that may not be written, a network that is down
        what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"error: {shorten(what)}\n{resume}".rstrip(), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"\nInterrupted. {resume}".rstrip(), file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> NoReturn:
    """A line on standard error, and exit code 2."""
    print(f"error: {shorten(message)}", file=sys.stderr)
    sys.exit(2)


def shorten(message: str) -> str:
    """A message that is no longer than a screen's: what is wrong comes first in it, and the remedy last."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:300]} … {message[-(LONGEST_MESSAGE - 303) :]}"
