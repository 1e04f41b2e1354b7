"""A browser that visits the Space, for its tests."""

import asyncio
import os
import shutil
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest


gradio = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=30_000)  # of a busy machine: a page that is ready is waited for no longer

from hf_treecot.engines.server_process import free_port  # noqa: E402
from hf_treecot.selection.judgements import JudgementLog  # noqa: E402
from hf_treecot.space import app, talk  # noqa: E402

from .space import hostile_tree, large_tree, small_tree, write_evaluation, write_run  # noqa: E402
from .tiny_models import save_tiny  # noqa: E402


BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")
SCREENSHOTS = os.environ.get("TREECOT_SCREENSHOTS")  # a directory to keep them in
SETTLING = 400  # milliseconds: no visitor types as early as a test, before Gradio has set all its components


def view(name):
    """JavaScript: the drawing of that element."""
    return f"[...document.querySelectorAll('#{name}, #{name} *')].find(e => e.treeView).treeView"


@pytest.fixture(scope="module")
def browser():
    # Debian's, or else the one that `playwright install` has fetched.
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as driver:
        if path is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("there is no Chromium: run `make browser`")
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """An app on a run of small trees, one that attacks the page, and a large one."""
    directory = tmp_path_factory.mktemp("space")
    trees = [
        small_tree(i, ("reflection", "hypothesis")[i % 2], right=i % 4, wrong=(3 - i) % 4, source=f"source {i % 3}")
        for i in range(40)
    ]
    run = write_run(directory / "run", [*trees, hostile_tree(), large_tree()])
    write_evaluation(run)
    model = save_tiny(directory / "model")
    log = JudgementLog(directory / "judgements")
    workspace = app.Workspace(str(run), SlowModels([model], any_other=True), log, run, public=False)
    # Gradio's own choice, the first free one from 7860, is that of two processes which start at the same time.
    _, url, _ = app.launch(workspace, "127.0.0.1", free_port(), prevent_thread_lock=True, quiet=True)
    yield SimpleNamespace(url=url, run=run, directory=directory, judgements=log.directory)
    gradio.close_all()


@pytest.fixture
def visit(browser, space):
    """Opens the app; afterwards nothing may have gone wrong."""
    visitors = []

    def visit(query="", **options):
        visitors.append(Visitor(browser, space.url, query, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.close()


class SlowEngine:
    """A model that takes its time, so that one can see how its answer comes."""

    def __init__(self, engine):
        self.engine, self.render_chat, self.close = engine, engine.render_chat, engine.close
        self.identity = engine.identity

    async def generate(self, request):
        await asyncio.sleep(0.1)
        return await self.engine.generate(request)


class SlowModels(talk.Models):
    def load(self, name):
        return SlowEngine(super().load(name))


class Visitor:
    """A browser's profile with one open page, which must never log an error or ask another host."""

    def __init__(self, browser, url, query="", **options):
        self.url, self.faults = url, []
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        self.context = browser.new_context(**options)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.open(query)

    def open(self, query=""):
        self.page = page = self.context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda m: self.faults.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("request", lambda request: self.note_request(request.url))
        page.goto(self.url + query)
        expect(page.locator(".tree-stage .card").locator("visible=true").first).to_be_visible()
        page.wait_for_timeout(SETTLING)

    def close(self):
        self.context.close()
        assert self.faults == []

    def note_request(self, url):
        if not url.startswith((self.url, "data:", "blob:")):
            self.faults.append(f"outside: {url}")

    def tab(self, name):
        self.page.get_by_role("tab", name=name).click()

    def find(self, text):
        """Open the tree of the first problem that holds a text."""
        self.tab("Explore")
        box = self.page.locator("#filter-text").locator("textarea, input").first
        box.fill(text)
        expect(self.page.locator("#place")).to_contain_text("page 1 of 1")
        first = self.page.locator("#problem-list .tree-row").first
        expect(first.locator(".row-problem")).to_have_attribute("title", re_of(text))
        first.click()
        expect(self.page.locator("#problem-list [aria-current=true]")).to_have_count(1)
        expect(self.page.locator("#problem-title")).to_contain_text(first.locator(".row-problem").inner_text()[:20])
        expect(self.page.locator("#tree .card").first).to_be_attached()

    def open_source(self, source):
        """Open another run or dataset."""
        self.tab("Explore")
        box = self.page.locator("#source").locator("textarea, input").first
        if not box.is_visible():
            self.page.get_by_role("button", name="Source, filters, order").click()
            self.page.wait_for_timeout(SETTLING)
        box.fill(str(source))
        self.page.locator("#open").click()

    def name_self(self, name=None):
        """Say who one is; without a name, somebody new."""
        name = name or f"Ann {uuid.uuid4().hex[:8]}"
        self.tab("Judge")
        box = self.page.locator("#judge-name").locator("textarea, input").first
        box.fill(name)
        box.blur()
        expect(self.page.locator("#judge-item [data-item]")).to_be_visible()
        self.page.wait_for_timeout(SETTLING)
        return name

    def screenshot(self, name):
        if SCREENSHOTS:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)

    def is_wider_than_its_window(self):
        return self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def re_of(text):
    import re

    return re.compile(re.escape(text))
