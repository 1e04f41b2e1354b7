"""The arithmetic of a drawn tree: JavaScript that knows no page, run by the Node that comes with Playwright."""

import json
import subprocess
from pathlib import Path

import pytest


driver = pytest.importorskip("playwright._impl._driver")

from hf_treecot.space import tree_index  # noqa: E402


LAYOUT = Path(tree_index.__file__).parent / "tree_layout.js"
TREE = {  # two ways, of which one parts again; the second right answer was visited more often
    "parent": [-1, 0, 0, 1, 1, 2, 3],
    "reward": [None, None, None, None, 1, 1, 0],
    "simulation": [0, 0, 1, 0, 0, 1, 2],
    "simulations": [4, 5, 6, 5],
}


def layout(expression, **values):
    """The value of an expression in which `L` is the module, `T` the tree, and the others are what they are called."""
    given = "".join(f"const {name} = {json.dumps(value)};" for name, value in {"T": TREE, **values}.items())
    code = f"require({json.dumps(str(LAYOUT))}); const L = treecotLayout; {given}"
    clean = "(k, v) => v instanceof Set ? [...v] : ArrayBuffer.isView(v) ? [...v] : v"
    code += f"console.log(JSON.stringify({expression}, {clean}))"
    node, _ = driver.compute_driver_executable()
    result = subprocess.run([node, "-e", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_family_knows_children_depth_and_what_is_below():
    family = layout("L.family(T.parent)")
    assert family["children"] == [[1, 2], [3, 4], [5], [6], [], [], []]
    assert family["depth"] == [0, 1, 1, 2, 2, 2, 3]
    assert family["below"] == [6, 3, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("step", "visits", "there", "path"),
    [
        (0, [0] * 7, [1, 0, 0, 0, 0, 0, 0], []),
        (1, [1, 1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0, 0], [4, 1, 0]),
        (9, [4, 2, 2, 1, 1, 2, 1], [1] * 7, [5, 2, 0]),
    ],
)
def test_a_step_shows_what_the_search_had(step, visits, there, path):
    replayed = layout("L.replay(T, step)", step=step)
    assert replayed["visits"] == visits
    assert replayed["there"] == there
    assert replayed["path"] == path
    assert replayed["step"] == min(step, 4)


def test_the_best_path_ends_in_the_right_answer_with_most_visits():
    of_steps = "L.bestPath(T, L.family(T.parent).children, L.replay(T, {}).visits)"
    assert layout(of_steps.format(1)) == [0, 1, 4]
    assert layout(of_steps.format(4)) == [0, 2, 5]
    nothing_right = {**TREE, "reward": [None] * 4 + [0, 0, 0]}
    assert layout(of_steps.format(4).replace("T,", "W,"), W=nothing_right) == [0, 1, 3, 6]


def placed(children, folded=(), down=False):
    return layout("L.place(C, new Set(F), { down: D })", C=children, F=list(folded), D=down)


def overlaps(found):
    card, order = found["card"], found["order"]
    corners = [(found["x"][i], found["y"][i]) for i in order]
    return [
        (a, b)
        for a, (x, y) in enumerate(corners)
        for b, (u, v) in enumerate(corners[:a])
        if abs(x - u) < card["width"] and abs(y - v) < card["height"]
    ]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_card_lies_on_another_and_parents_come_before(seed, down):
    import random

    rng = random.Random(seed)
    parent = [-1, *(rng.randrange(max(0, i - 6), i) for i in range(1, 60))]
    children = [[k for k, p in enumerate(parent) if p == i] for i in range(60)]
    folded = rng.sample(range(1, 60), 5)
    found = placed(children, folded, down)
    assert overlaps(found) == []
    hidden = {k for k in range(60) if any(f in _above(parent, k) for f in folded)}
    assert set(found["order"]) == set(range(60)) - hidden
    for i in found["order"][1:]:
        x, y = (found[axis][i] - found[axis][parent[i]] for axis in ("x", "y"))
        assert x >= 0 if down else x == found["card"]["width"] + 38
        assert y > 0 or not down
    assert min(found["y"][i] for i in found["order"]) == 0
    assert found["height"] == max(found["y"][i] for i in found["order"]) + found["card"]["height"]


def _above(parent, i):
    while (i := parent[i]) >= 0:
        yield i


def test_parents_stand_amid_their_children_and_answers_share_rows_with_what_is_deeper():
    found = placed([[1, 2], [3, 4], [], [], []])
    assert found["y"][0] == (found["y"][1] + found["y"][2]) / 2
    assert found["y"][1] == (found["y"][3] + found["y"][4]) / 2
    assert found["height"] < 3 * 72  # three leaves, and less than three rows apart


def test_a_chain_of_5000_is_placed_without_recursion():
    found = layout("(({ order, width }) => [order.length, width])(L.place(C, new Set()))",
                   C=[[i + 1] for i in range(4999)] + [[]])  # fmt: skip
    assert found[0] == 5000


def test_a_small_tree_is_open_and_a_large_one_shows_the_best_path():
    parent = [-1] + [(i - 1) // 3 for i in range(1, 400)]
    code = "((f) => L.foldAtFirst(P, f, best, V, { rows, down: false }))(L.family(P))"
    best = [0, 1, 4, 13, 40, 121]
    values = {"P": parent, "V": [400 - i for i in range(400)], "best": best}
    folded = set(layout(code, rows=9, **values))
    assert not folded & set(best)
    assert folded
    children = [[k for k, p in enumerate(parent) if p == i] for i in range(400)]
    shown = placed(children, folded)["order"]
    assert 12 < len(shown) <= 6 * 9
    assert set(layout(code, rows=1000, **values)) == set()


def test_all_of_a_small_tree_fits_and_of_a_large_one_the_root_is_seen():
    view = {"width": 800, "height": 500}
    chain = "L.place(C, new Set())"
    small = layout(f"L.fit({chain}, view)", C=[[1], []], view=view)
    assert small == {"scale": 1, "left": (800 - 430) / 2, "top": (500 - 72) / 2}
    large = layout(f"L.fit({chain}, view)", C=[[i + 1] for i in range(20)] + [[]], view=view)
    assert large["scale"] == 0.75
    assert large["left"] == 14
    whole = layout(f"L.fit({chain}, view, 0, 0.002)", C=[[i + 1] for i in range(20)] + [[]], view=view)
    assert whole["scale"] * (20 * 234 + 196) == pytest.approx(800 - 28)


def test_a_card_out_of_sight_comes_into_view_and_zooming_stays_under_the_pointer():
    code = "L.reveal(L.place(C, new Set()), view, { scale: 1, left: 0, top: 0 }, 3)"
    moved = layout(code, C=[[1], [2], [3], []], view={"width": 500, "height": 300})
    assert moved["left"] + 3 * 234 + 196 == 500 - 16
    assert moved["top"] == 16
    zoomed = layout("L.zoom({ scale: 1, left: 10, top: 20 }, 2, 100, 50)")
    assert (100 - zoomed["left"]) / zoomed["scale"] == 100 - 10
    assert (50 - zoomed["top"]) / zoomed["scale"] == 50 - 20
