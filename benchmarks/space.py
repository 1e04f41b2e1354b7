"""How fast the Space is in a browser: trees of 38, 2,000 and 20,000 nodes, 200 trees one by one, and a dataset
of 50,000 trees.

    python -m benchmarks.space
    python -m benchmarks.space --pictures DIRECTORY --source runs/demo    # every tab at three sizes, light and dark
"""

import argparse
import gc
import random
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import gradio
import psutil
from playwright.sync_api import sync_playwright

from hf_treecot.selection.judgements import JudgementLog
from hf_treecot.space import app, talk
from hf_treecot.space.arguments import SpaceArguments
from hf_treecot.space.tree_index import Query, open_trees
from tests.space import large_tree, small_tree, write_run
from tests.visitor import BROWSERS, FLAGS, view


TREES = 50_000
OPENED = 200  # trees, one after the other
SIZES = (38, 2_000, 20_000)
WINDOWS = {"1400": (1400, 900), "768": (768, 1024), "390": (390, 844)}
TABS = ("Story", "Explore", "Judge", "Talk", "Results")
VIEW = view("tree")
# One frame after the other while the drawing is dragged and zoomed: milliseconds of each.
FRAMES = f"""async () => {{
  const view = {VIEW}, times = [];
  for (let i = 0; i < 60; i++) {{
    const started = performance.now();
    if (i % 2) view.pan(7, 3); else view.zoom(i < 30 ? 1.06 : 1 / 1.06);
    view.stage.getBoundingClientRect();
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - started);
  }}
  return times.sort((a, b) => a - b);
}}"""
SHOWN = f"() => {VIEW}.tree?.kind.length === {{}} && document.querySelector('#tree .card')"


@contextmanager
def browser_page(url, **options):
    """A page of a headless browser."""
    with sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = driver.chromium.launch(executable_path=path, args=[*FLAGS, "--js-flags=--expose-gc"])
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options})
        page.goto(url)
        yield page
        browser.close()


def serve(run, directory):
    """The app on a run; its address."""
    workspace = app.Workspace(str(run), talk.Models(["starter"]), JudgementLog(directory / "j"), None, False)
    _, url, _ = app.launch(workspace, "127.0.0.1", None, prevent_thread_lock=True, quiet=True)
    return url


def open_row(page, row, nodes):
    """Click on a problem; how many seconds until its tree is drawn."""
    started = time.perf_counter()
    page.locator("#problem-list .tree-row").nth(row).click()
    page.wait_for_function(SHOWN.format(nodes))
    return time.perf_counter() - started


def measure_sizes(directory):
    """From the click in the list to the drawing, and frames after that."""
    trees = [small_tree(), *(large_tree(size) for size in SIZES)]
    url = serve(write_run(directory / "large", trees), directory)
    started = time.perf_counter()
    with browser_page(url) as page:
        page.locator("#story-tree .card").first.wait_for()
        print(f"page, from nothing to the story: {time.perf_counter() - started:.2f} s, with the browser's start")
        page.get_by_role("tab", name="Explore").click()
        page.locator("#problem-list .tree-row").nth(3).wait_for()
        for number, tree in enumerate(trees):
            seconds = open_row(page, number, len(tree.nodes))
            if not number:
                continue  # the first has waited for the page
            cards = page.locator("#tree .card").count()
            print(f"{len(tree.nodes):,} nodes, from the click to the drawing: {seconds:.2f} s, {cards} cards")
            folded = page.evaluate(FRAMES)
            started = time.perf_counter()
            page.evaluate(f"{VIEW}.foldAll(true)")
            opened = 1000 * (time.perf_counter() - started)
            times = page.evaluate(FRAMES)
            print(
                f"  a frame of panning and zooming, median / worst of 60: folded {folded[30]:.0f} / {folded[-1]:.0f} "
                f"ms; all open (in {opened:.0f} ms) {times[30]:.0f} / {times[-1]:.0f} ms"
            )
    gradio.close_all()


def measure_memory(directory):
    """The browser's memory over many trees, one after the other."""
    run = write_run(directory / "many", (small_tree(i, right=3, wrong=9) for i in range(15)))
    url = serve(run, directory)
    heap = "() => { gc(); return performance.memory.usedJSHeapSize / 2 ** 20; }"
    with browser_page(url) as page:
        page.get_by_role("tab", name="Explore").click()
        page.locator("#problem-list .tree-row").nth(14).wait_for()
        figures = []
        for number in range(OPENED + 1):
            if number % 50 == 0:
                cards = page.evaluate("document.querySelectorAll('*').length")
                figures.append(f"{page.evaluate(heap):.1f} MiB ({cards:,} elements)")
            previous = page.locator("#problem-list [aria-current=true]").get_attribute("data-row")
            row = (int(previous) + 1) % 15
            page.locator("#problem-list .tree-row").nth(row).click()
            page.wait_for_function(f"() => {VIEW}.tree.title.endsWith(' {row}')")
    print(f"script's memory after 0, 50, …, {OPENED} trees: {', '.join(figures)}")
    gradio.close_all()


def wordy_tree(number):
    """A small tree whose thoughts do not compress."""
    tree, rng = small_tree(number, right=number % 4, wrong=3), random.Random(number)
    for node in tree.nodes[1:]:
        node.text += f" {rng.randbytes(150).hex()}"
    return tree


def measure_many_trees(directory):
    """Opening, filtering and reading one tree of many."""
    run = write_run(directory / "very many", map(wordy_tree, range(TREES)))
    size = sum(path.stat().st_size for path in run.rglob("*.parquet")) / 2**20
    gc.collect()
    process, started = psutil.Process(), time.perf_counter()
    before = process.memory_info().rss
    index = open_trees(str(run))
    seconds, memory = time.perf_counter() - started, (process.memory_info().rss - before) / 2**20
    print(f"{len(index):,} trees ({size:.0f} MiB on disk): opened in {seconds:.2f} s, {memory:.0f} MiB more memory")
    for name, query in (
        ("filtered", Query(text="4999", min_success=0.2)),
        ("sorted", Query(order="success rate, lowest first")),
    ):
        started = time.perf_counter()
        found = index.find(query)
        print(f"{name} ({len(found):,} found): {(time.perf_counter() - started) * 1000:.0f} ms")
    started = time.perf_counter()
    for row in range(0, TREES, TREES // 10):
        index.tree(row)
    print(f"one tree: {(time.perf_counter() - started) * 100:.0f} ms")
    started = time.perf_counter()
    index.pairs(index.tree(1))
    print(f"its pairs, the first time: {(time.perf_counter() - started) * 1000:.0f} ms")


def take_pictures(directory, source):
    """Every tab, at every size, light and dark; and the guide's picture."""
    directory.mkdir(parents=True, exist_ok=True)
    models = ["hasty", *(str(path.parent) for path in sorted(Path(source).glob("*/config.json")))]
    with tempfile.TemporaryDirectory() as judgements:
        workspace = app.workspace_of(SpaceArguments(source=source, models=models, judgements=judgements))
        _, url, _ = app.launch(workspace, "127.0.0.1", None, prevent_thread_lock=True, quiet=True)
        for window, (width, height) in WINDOWS.items():
            for scheme in ("light", "dark"):
                size = {"width": width, "height": height}
                with browser_page(url, viewport=size, color_scheme=scheme) as page:
                    page.locator("#story-tree .card").first.wait_for()
                    for tab in TABS:
                        page.get_by_role("tab", name=tab).click()
                        if tab == "Talk":
                            page.locator(".example-button").first.click()
                            page.locator("#conversation .reply .note", has_text="done").first.wait_for()
                        page.wait_for_timeout(1500)
                        name = f"{window}-{scheme}-{tab.lower()}.png"
                        page.screenshot(path=directory / name, full_page=True, animations="disabled")
                    print(f"{window} {scheme}")
        gradio.close_all()


def main() -> None:
    """Measure and print, or take pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="Take pictures instead, to this directory.")
    parser.add_argument("--source", default="examples", help="The run on the pictures.")
    arguments = parser.parse_args()
    if arguments.pictures:
        take_pictures(arguments.pictures, arguments.source)
        return
    with tempfile.TemporaryDirectory() as directory:
        measure_sizes(Path(directory))
        measure_memory(Path(directory))
        measure_many_trees(Path(directory))


if __name__ == "__main__":
    main()
