"""Import modules as if nothing were installed but what the package and some of its extras ask for.

    python tests/installed_only.py EXTRA,EXTRA MODULE...

Prints a line for each module that cannot be imported then.
"""

import importlib
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


OWNERS = packages_distributions()  # of what can be imported


def closure(name: str, extras: Iterable[str]) -> set[str]:
    """The distributions that come with one, by the names that an index knows them by."""
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(name), extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            needed = map(Requirement, requires(name) or ())
        except PackageNotFoundError:  # of another system, or it comes in another package
            continue
        for need in needed:
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(need.name), wanted) for wanted in ("", *need.extras)]
    return {name for name, _ in found}


class Installed(PathFinder):
    """Finds the modules of these distributions, and those that belong to none."""

    distributions: set[str] = set()

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        owners = OWNERS.get(fullname.partition(".")[0])
        if owners and cls.distributions.isdisjoint(map(canonicalize_name, owners)):
            return None
        return super().find_spec(fullname, path, target)


def main() -> None:
    """Import what the command line names."""
    extras, *modules = sys.argv[1:]
    Installed.distributions = closure("hf-treecot", filter(None, extras.split(",")))
    sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            print(f"{module}: {error}")


if __name__ == "__main__":
    main()
