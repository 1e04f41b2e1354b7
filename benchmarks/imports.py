"""The house, drawn: which module imports which, also within functions. `python benchmarks/imports.py` prints it.

Stages stand in the order of the data: a module imports only what stands above it. `tests/test_architecture.py` holds
the package against it.
"""

import ast
from collections import defaultdict
from pathlib import Path


PACKAGE = Path(__file__).parents[1] / "hf_treecot"
STAGES = (
    ("attention_kernels", "base", "control_tokens", "errors", "files", "think_blocks"),
    ("domains",),
    ("problems",),
    ("verifiers",),
    ("engines",),
    ("mcts",),
    ("selection",),
    ("traces",),
    ("starter",),
    ("hub",),
    ("building",),
    ("trainers", "evaluation", "reports", "rewards"),  # none of these imports another
    ("serving",),
    ("testing",),
    ("cli", "space"),  # these may import all, and each other
)


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name below `hf_treecot`; a package is named by itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> dict[str, set[str]]:
    """What every module imports of the package, also within functions."""
    known = modules()
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            parts = package.split(".") if package else []
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                target = f"{base}.{alias.name}".lstrip(".")
                found[name].add(target if target in known else base)
    return {name: targets - {name, ""} for name, targets in found.items() if name}


def stage_of(module: str) -> int:
    """The number of the stage that a module belongs to."""
    room = module.split(".")[0]
    return next(number for number, rooms in enumerate(STAGES) if room in rooms)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The circles among modules, each once, as far as they do not share a module."""
    found, done = [], set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for target in sorted(arrows.get(module, ())):
                visit(target, [*way, module])
            done.add(module)

    for module in sorted(arrows):
        visit(module, [])
    return found


def wrong_arrows(arrows: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Arrows to a later stage, or between rooms of one stage that must not know each other."""
    last = len(STAGES) - 1
    return [
        (module, target)
        for module, targets in arrows.items()
        for target in sorted(targets)
        if stage_of(target) > stage_of(module)
        or (
            (stage_of(target) == stage_of(module) != last and module.split(".")[0] != target.split(".")[0])
            and stage_of(module) != 0
        )
    ]


def main() -> None:
    """Print the rooms, what each imports, and what is wrong."""
    arrows = imports()
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, targets in arrows.items():
        rooms[module.split(".")[0]] |= {target.split(".")[0] for target in targets} - {module.split(".")[0]}
    for number, stage in enumerate(STAGES):
        for room in stage:
            count = sum(module.split(".")[0] == room for module in arrows)
            known = ", ".join(sorted(rooms[room], key=stage_of)) or "-"
            print(f"{number:2} {room:<11} {count:3} modules  imports {known}")
    print(f"{len(arrows)} modules, {sum(map(len, arrows.values()))} arrows, {len(circles(arrows))} circles")
    for module, target in wrong_arrows(arrows):
        print(f"wrong: {module} -> {target}")


if __name__ == "__main__":
    main()
