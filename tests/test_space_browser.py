"""The Space in headless Chromium: what a person does, and that nothing goes wrong or out on the way."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest


gradio = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=30_000)  # of a busy machine: a page that is ready is waited for no longer

from hf_treecot.selection.judgements import JudgementLog, read_events  # noqa: E402
from hf_treecot.space import app, talk  # noqa: E402

from .space import hostile_tree, large_tree, small_tree, write_run  # noqa: E402
from .tiny_models import save_tiny  # noqa: E402


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = os.environ.get("TREECOT_SCREENSHOTS")  # a directory to keep them in


SCALE = "[...document.querySelectorAll('#tree, #tree *')].find(e => e.treeView).treeView.scale"


pytestmark = pytest.mark.flaky(reruns=2)  # a browser on a busy machine is late at times; every attempt starts afresh
SETTLING = 700  # milliseconds: no visitor types as early as a test, before Gradio has set all its components


@pytest.fixture(scope="module")
def browser():
    # Debian's, or else the one that `playwright install` has fetched.
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as driver:
        if path is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("there is no Chromium: run `make browser`")
        browser = driver.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def space(tmp_path_factory):
    directory = tmp_path_factory.mktemp("space")
    trees = [
        small_tree(i, ("reflection", "hypothesis")[i % 2], right=i % 4, wrong=(3 - i) % 4, source=f"source {i % 3}")
        for i in range(40)
    ]
    run = write_run(directory / "run", [*trees, hostile_tree(), large_tree()])
    evaluation = [
        {"model": m, "problems": "letters", "accuracy": a, "no_answer_rate": 0.1} for m, a in (("a", 0.5), ("b", 0.75))
    ]
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    model = save_tiny(directory / "model")
    workspace = app.Workspace(
        str(run), SlowModels([model], any_other=True), JudgementLog(directory / "judgements"), run, public=False
    )
    _, url, _ = app.launch(workspace, "127.0.0.1", None, prevent_thread_lock=True, quiet=True)
    yield SimpleNamespace(url=url, run=run, directory=directory, judgements=directory / "judgements")
    gradio.close_all()


class SlowEngine:
    """A model that takes its time, so that one can see how its answer comes."""

    def __init__(self, engine):
        self.engine, self.render_chat, self.close = engine, engine.render_chat, engine.close

    async def generate(self, request):
        await asyncio.sleep(0.1)
        return await self.engine.generate(request)


class SlowModels(talk.Models):
    def load(self, name):
        return SlowEngine(super().load(name))


class Visitor:
    """A browser's profile with one open page, which must never log an error or ask another host."""

    def __init__(self, browser, space, **options):
        self.space, self.faults = space, []
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.open()

    def open(self):
        self.page = page = self.context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda m: self.faults.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("request", lambda request: self.note_request(request.url))
        page.goto(self.space.url)
        expect(page.locator("#problem-list label").first).to_be_visible()
        page.wait_for_timeout(SETTLING)

    def note_request(self, url):
        if not url.startswith((self.space.url, "data:", "blob:")):
            self.faults.append(f"outside: {url}")

    def tab(self, name):
        self.page.get_by_role("tab", name=name).click()

    def find(self, text):
        """Open the tree of the first problem that holds a text."""
        if not self.page.locator("#filter-text textarea, #filter-text input").first.is_visible():
            self.page.get_by_role("button", name="Filter and order").click()
        # Gradio may set its components anew after the page has loaded, and what is typed then is gone: type again.
        for _ in range(5):
            self.page.locator("#filter-text").locator("textarea, input").first.fill("")
            self.page.locator("#filter-text").locator("textarea, input").first.fill(text)
            with contextlib.suppress(AssertionError):
                expect(self.page.locator("#place")).to_contain_text("page 1 of 1", timeout=3000)
                break
        expect(self.page.locator("#place")).to_contain_text("page 1 of 1")
        first = self.page.locator("#problem-list label").first
        expect(first).to_contain_text(text)
        first.click()
        expect(self.page.locator("#tree [data-node]").first).to_be_attached()

    def screenshot(self, name):
        if SCREENSHOTS:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)

    def name_self(self, name="Ann"):
        self.tab("Judge")
        box = self.page.locator("#judge-name").locator("textarea, input").first
        box.fill(name)
        box.blur()
        expect(self.page.locator("#judge-item [data-item]")).to_be_visible()
        self.page.wait_for_timeout(SETTLING)


@pytest.fixture
def visit(browser, space):
    visitors = []

    def visit(**options):
        visitors.append(Visitor(browser, space, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()
        assert visitor.faults == []


def judged(space, annotator):
    return {j.comment: j.verdict for j in JudgementLog(space.judgements).of(annotator).values()}


def test_filter_open_click_and_step(visit):
    visitor = visit()
    page = visitor.page
    expect(page.locator("#place")).to_contain_text("42 of 42 trees · page 1 of 3")
    page.locator("#page-forward").click()
    expect(page.locator("#place")).to_contain_text("page 2 of 3")
    visitor.find("p-5")
    expect(page.locator("#place")).to_contain_text("1 of 42 trees")
    expect(page.locator("#problem-title")).to_contain_text("Problem 5: what is 6 times 7?")
    assert page.locator("#tree .node").count() == 8
    assert page.locator("#tree .node.right").count() == 1
    assert page.locator("#tree .node.wrong").count() == 2
    assert page.locator("#tree .node.critic path.shape").count() == 2

    page.locator("#tree [data-node='2'] .shape").click()
    expect(page.locator("#node")).to_contain_text("UCB")
    expect(page.locator("#node math mfrac")).to_be_visible()  # LaTeX is typeset
    expect(page.locator("#node tr", has_text="visits N")).to_contain_text("1")

    page.get_by_role("button", name="Before the first simulation").click()
    assert page.locator("#tree .node").count() == 1
    page.get_by_role("button", name="Next simulation").click()
    assert page.locator("#tree .node").count() == 4
    expect(page.locator("#tree .tree-status")).to_have_text("simulation 1 of 3 · right (1)")
    page.get_by_role("button", name="Next simulation").click()
    expect(page.locator("#tree .tree-status")).to_have_text("simulation 2 of 3 · wrong (0)")
    page.locator("#tree [data-node='1'] .shape").click()
    expect(page.locator("#node tr", has_text="visits N")).to_contain_text("2")
    visitor.screenshot("explore")


def test_the_pair_of_the_dataset_is_shown_where_it_parts(visit):
    visitor = visit()
    visitor.find("p-5")
    pair = visitor.page.locator("#pair")
    expect(pair.locator(".chosen")).to_contain_text("42")
    expect(pair.locator(".rejected")).to_contain_text("I guess")
    assert pair.locator(".thought.shared").count() == 2
    assert pair.locator(".divergence").count() == 2
    visitor.find("p-4")
    expect(pair).to_contain_text("made no preference pair")


def test_everything_about_a_tree_can_be_done_by_keys(visit):
    visitor = visit()
    page = visitor.page
    visitor.find("p-6")
    tree = page.locator("#tree svg")
    tree.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#tree .node.chosen")
    expect(chosen).to_have_attribute("data-node", "4")
    assert tree.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    expect(chosen).to_have_attribute("aria-label", re.compile("thinking, 1 visits, value 1.00: Thought 1"))
    expect(page.locator("#node")).to_contain_text("Thought 1")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    assert page.locator("#tree .node").count() == 2
    expect(page.locator("#tree .node.chosen")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Space")
    assert page.locator("#tree .node").count() == 8
    page.keyboard.press(",")
    expect(page.locator("#tree .tree-status")).to_contain_text("simulation 2 of 3")
    scale = page.evaluate(SCALE)
    page.keyboard.press("+")
    assert page.evaluate(SCALE) > scale
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, textarea, select')].filter(e => e.offsetParent"
        " && !e.labels?.length && !e.closest('label') && !e.getAttribute('aria-label') && !e.title"
        " && !e.textContent.trim()).map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_drag_pans_and_the_wheel_zooms(visit):
    visitor = visit()
    page = visitor.page
    visitor.find("p-6")
    tree = page.locator("#tree svg")
    tree.scroll_into_view_if_needed()
    before = page.locator("#tree svg > g").get_attribute("transform")
    box = tree.bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 360, box["y"] + 330, steps=4)
    page.mouse.up()
    panned = page.locator("#tree svg > g").get_attribute("transform")
    assert panned != before
    tree.focus()
    page.mouse.wheel(0, -200)
    page.wait_for_function("t => document.querySelector('#tree svg > g').getAttribute('transform') !== t", arg=panned)


def test_hostile_text_stays_text(visit):
    visitor = visit()
    page = visitor.page
    visitor.find("evil")
    for node in range(10):
        page.locator("#tree svg").focus()
        page.locator(f"#tree [data-node='{node}']").dispatch_event("click")
        expect(page.locator("#node tr", has_text="node").first).to_contain_text(f"{node} of")
    expect(page.locator("#node .text").first).to_contain_text("<script>")
    page.locator("#tree [data-node='8']").dispatch_event("click")
    expect(page.locator("#node tr").first).to_contain_text("8 of")
    assert len(page.locator("#node .text").inner_text()) > 900_000  # the thought of 1 MB, whole
    visitor.name_self("Mallory <img src=x onerror=window.hacked=1>")
    for selector in ("#tree", "#node", "#pair", "#judge-item", "#problem-list", "#problem-title"):
        assert page.locator(f"{selector} script, {selector} img, {selector} a").count() == 0
    assert page.evaluate("window.hacked") is None


def test_judgements_are_there_after_the_tab_is_closed(visit, space):
    visitor = visit()
    page = visitor.page
    visitor.find("Problem 7")
    visitor.name_self("Ann")
    item = page.locator("#judge-item [data-item]")
    first = item.get_attribute("data-item")
    expect(page.locator("#judge-item")).to_contain_text("Thought 0")
    page.locator("#judge-comment textarea").fill("well done")
    page.locator("#judge-comment textarea").blur()
    page.keyboard.press("a")
    expect(page.locator("#judge-item")).to_contain_text("Thought 1")
    page.keyboard.press("r")
    expect(page.locator("#judge-item")).to_contain_text("Thought 2")
    expect(page.locator("#judge-standing")).to_contain_text("accepted 1 and rejected 1")
    assert judged(space, "Ann") == {"well done": "accept", "": "reject"}
    page.keyboard.press("c")
    page.keyboard.type("a draft about arrows")  # its letters are no shortcuts
    page.wait_for_timeout(SETTLING)
    visitor.screenshot("judge")
    page.close()

    visitor.open()
    page = visitor.page
    visitor.find("Problem 7")
    visitor.tab("Judge")
    expect(page.locator("#judge-name").locator("textarea, input").first).to_have_value("Ann")
    expect(page.locator("#judge-standing")).to_contain_text("accepted 1 and rejected 1")
    expect(page.locator("#judge-item")).to_contain_text("Thought 2")
    expect(page.locator("#judge-comment textarea")).to_have_value("a draft about arrows")
    page.locator("#judge-comment textarea").blur()
    page.keyboard.press("u")
    expect(page.locator("#judge-standing")).to_contain_text("accepted 1 and rejected 0")
    expect(page.locator("#judge-item")).to_contain_text("Thought 1")
    page.keyboard.press("p")
    expect(page.locator("#judge-item [data-item]")).to_have_attribute("data-item", first)
    expect(page.locator("#judge-comment textarea")).to_have_value("well done")

    other = visit()  # another person: what Ann has said is not theirs
    other.find("Problem 7")
    other.name_self("Bob")
    expect(other.page.locator("#judge-standing")).to_contain_text("accepted 0 and rejected 0")
    other.page.get_by_label("preference pairs").check()
    expect(other.page.get_by_role("alert")).to_contain_text("Nothing is left to judge")
    assert judged(space, "Bob") == {}


def test_who_gives_no_name_is_asked_for_it(visit, space):
    visitor = visit()
    visitor.tab("Judge")
    expect(visitor.page.locator("#judge-item [data-item]")).to_be_visible()
    visitor.page.locator("#judge-accept").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("Say who you are first")


def test_talking_streams_and_a_search_grows(visit):
    visitor = visit()
    page = visitor.page
    visitor.tab("Talk")
    page.locator("#ask").click()
    lengths = set()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lengths.add(len(page.locator("#left-answer").inner_text()))
        note = page.locator("#left-counters .note")
        if note.count() and re.match("done|stopped", note.inner_text()):
            break
        time.sleep(0.02)
    expect(page.locator("#left-counters")).to_contain_text("repetition")
    expect(page.locator("#right-counters .note")).to_contain_text(re.compile("done|stopped"))
    assert len(lengths) > 2  # it came in pieces
    page.locator("#search").click()
    expect(page.locator("#search-tree .node").first).to_be_attached()
    expect(page.locator("#found")).to_contain_text("done: simulation 16 of 16", timeout=60_000)
    expect(page.locator("#search-tree .tree-status")).to_contain_text("simulation 16 of 16")
    page.locator("#search-tree [data-node='1'] .shape").click()
    expect(page.locator("#search-node")).to_contain_text("UCB")
    visitor.screenshot("talk")


def test_a_source_that_is_none_gets_a_message(visit, space):
    (space.directory / "EMPTY").mkdir()
    write_run(space.directory / "NO TREES", [])
    page = visit().page
    for path, message in (
        ("/nowhere", "does not exist"),
        (space.directory / "EMPTY", "is not a run"),
        (space.directory / "NO TREES", "has no trees"),
    ):
        page.locator("#source").locator("textarea, input").first.fill(str(path))
        page.locator("#open").click()
        expect(page.get_by_role("alert")).to_contain_text(message)
        expect(page.locator("#problem-list label").first).to_be_visible()  # what was open stays open


def test_the_command_serves_the_same_page(browser, space, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hf_treecot.cli.main", "space", "--source", space.run, "--port", port]
    output = (tmp_path / "output").open("w+")
    process = subprocess.Popen([str(word) for word in command], cwd=tmp_path, stdout=output, stderr=output, text=True)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        assert process.poll() is None, (tmp_path / "output").read_text()
        visitor = Visitor(browser, SimpleNamespace(url=url))
        visitor.find("Problem 7")
        visitor.tab("Talk")
        expect(visitor.page.locator("#question textarea")).to_be_visible()
        visitor.context.close()
        assert visitor.faults == []
    finally:
        process.terminate()
        process.wait(20)
        output.close()


def test_on_a_public_space_visitors_are_strangers(browser, space):
    log = JudgementLog(space.directory / "public")
    workspace = app.Workspace(str(space.run), talk.Models(["starter"]), log, None, public=True)
    _, url, _ = app.launch(workspace, "127.0.0.1", None, prevent_thread_lock=True, quiet=True)
    public = SimpleNamespace(url=url)
    visitors = [Visitor(browser, public) for _ in range(2)]
    for visitor in visitors:  # both say that they are Ann
        visitor.find("Problem 7")
        visitor.name_self("Ann")
        expect(visitor.page.locator("#judge-standing")).to_contain_text("accepted 0 and rejected 0")
        visitor.page.locator("#judge-comment textarea").fill("for me alone")
        visitor.page.locator("#judge-accept").click()
        expect(visitor.page.locator("#judge-standing")).to_contain_text("accepted 1 and rejected 0")
    visitors[1].page.locator("#judge-undo").click()
    expect(visitors[1].page.locator("#judge-standing")).to_contain_text("accepted 0 and rejected 0")
    people = {event.annotator for event in read_events(log.directory)}
    assert len(people) == 2
    assert sorted(len(log.of(person)) for person in people) == [0, 1]
    page = visitors[0].page
    visitors[0].tab("Explore")
    page.locator("#source").locator("textarea, input").first.fill(str(space.directory))
    page.locator("#open").click()
    expect(page.get_by_role("alert")).to_contain_text("give user/name")
    visitors[0].tab("Talk")
    assert page.locator("#question textarea").get_attribute("maxlength") == "1000"
    for visitor in visitors:
        visitor.context.close()
        assert visitor.faults == []


def test_a_model_that_cannot_be_loaded_gets_a_message(visit):
    visitor = visit()
    visitor.tab("Talk")
    box = visitor.page.locator("#left-model input")
    box.fill("/no/such/model")
    box.press("Enter")
    visitor.page.locator("#ask").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("cannot be loaded")
    expect(visitor.page.locator("#right-counters .note")).to_contain_text(re.compile("done|stopped"))


def test_results_are_shown(visit):
    visitor = visit()
    visitor.tab("Results")
    expect(visitor.page.locator("#results-table")).to_contain_text("75.0%")
    expect(visitor.page.locator("#accuracy-plot canvas, #accuracy-plot svg.marks").first).to_be_visible()
    visitor.screenshot("results")


def test_a_tree_of_2000_nodes_opens_fast(visit):
    visitor = visit()
    started = time.perf_counter()
    visitor.find("A large tree")
    expect(visitor.page.locator("#tree .tree-status")).to_contain_text("simulation")
    assert time.perf_counter() - started < 10  # of a busy machine; benchmarks/space.py measures
    visitor.page.get_by_role("button", name="Show the whole tree").click()
    assert visitor.page.locator("#tree .node").count() >= 1000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(visit, scheme):
    visitor = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True)
    visitor.find("Problem 6")
    for tab in ("Explore", "Judge", "Talk"):
        visitor.tab(tab)
        visitor.page.wait_for_timeout(300)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
        visitor.screenshot(f"phone-{scheme}-{tab.lower()}")
