"""How fast the Space is in a browser: a tree of 2,000 nodes, and a dataset of 50,000 trees.

python -m benchmarks.space
"""

import gc
import random
import shutil
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from hf_treecot.selection.judgements import JudgementLog
from hf_treecot.space import app, talk
from hf_treecot.space.tree_index import Query, open_trees
from tests.space import large_tree, small_tree, write_run
from tests.visitor import BROWSERS


TREES = 50_000
VIEW = "[...document.querySelectorAll('#tree, #tree *')].find(e => e.treeView).treeView"
# One frame after the other while the drawing is dragged and zoomed: milliseconds of each.
FRAMES = f"""async () => {{
  const view = {VIEW}, times = [];
  view.fit();
  for (let i = 0; i < 60; i++) {{
    const started = performance.now();
    if (i % 2) view.pan(7, 3); else view.zoom(i < 30 ? 1.06 : 1 / 1.06);
    view.svg.getBoundingClientRect();
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - started);
  }}
  return times.sort((a, b) => a - b);
}}"""
OPEN = f"""async () => {{
  const view = {VIEW};
  const tree = view.tree, started = performance.now();
  view.show(null);
  view.show(tree);
  view.svg.getBoundingClientRect();
  const drawn = performance.now() - started;
  await new Promise(requestAnimationFrame);
  return [drawn, performance.now() - started, view.tree.kind.length];
}}"""


def measure_large_tree(directory):
    """From the click in the list to the drawing, and frames after that."""
    run = write_run(directory / "large", [small_tree(), large_tree()])
    workspace = app.Workspace(str(run), talk.Models(["starter"]), JudgementLog(directory / "j"), None, False)
    _, url, _ = app.launch(workspace, "127.0.0.1", None, prevent_thread_lock=True, quiet=True)
    with sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        page.goto(url)
        page.locator("#problem-list label").first.wait_for()
        print(f"page, from nothing: {time.perf_counter() - started:.2f} s")
        page.locator("#problem-list label").first.click()
        page.locator("#tree [data-node]").first.wait_for()
        started = time.perf_counter()
        page.locator("#problem-list label").nth(1).click()
        page.wait_for_function(f"() => {VIEW}.tree.kind.length > 1999")
        print(f"2,000 nodes, from the click to the drawing: {time.perf_counter() - started:.2f} s")
        drawn, painted, nodes = page.evaluate(OPEN)
        print(f"of which the browser, {nodes} nodes: {drawn:.0f} ms of script, {painted:.0f} ms to the next frame")
        times = page.evaluate(FRAMES)
        print(f"a frame of panning and zooming: median {times[30]:.0f} ms, worst of 60 {times[-1]:.0f} ms")
        browser.close()
    import gradio

    gradio.close_all()


def wordy_tree(number):
    """A small tree whose thoughts do not compress."""
    tree, rng = small_tree(number, right=number % 4, wrong=3), random.Random(number)
    for node in tree.nodes[1:]:
        node.text += f" {rng.randbytes(150).hex()}"
    return tree


def measure_many_trees(directory):
    """Opening, filtering and reading one tree of many."""
    run = write_run(directory / "many", map(wordy_tree, range(TREES)))
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


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        measure_large_tree(Path(directory))
        measure_many_trees(Path(directory))


if __name__ == "__main__":
    main()
