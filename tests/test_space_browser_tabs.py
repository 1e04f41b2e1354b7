"""Judging, talking and results in headless Chromium, the command, and a public Space."""

import contextlib
import re
import socket
import subprocess
import sys
import time
import uuid

import pytest


gradio = pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")

from hf_treecot.engines.server_process import free_port  # noqa: E402
from hf_treecot.selection.judgements import JudgementLog, read_events  # noqa: E402
from hf_treecot.space import app, talk  # noqa: E402

from .visitor import SETTLING, Visitor, browser, expect, space, visit  # noqa: E402


def judged(space, annotator):
    return {j.comment: j.verdict for j in JudgementLog(space.judgements).of(annotator).values()}


def test_judgements_are_there_after_the_tab_is_closed(visit, space):
    visitor = visit()
    page = visitor.page
    visitor.find("Problem 7")
    ann = visitor.name_self()
    item = page.locator("#judge-item [data-item]")
    first = item.get_attribute("data-item")
    expect(page.locator("#judge-item")).to_contain_text("Thought 0")
    page.locator("#judge-comment textarea").fill("well done")
    page.locator("#judge-comment textarea").blur()
    page.keyboard.press("a")
    expect(page.locator("#judge-item")).to_contain_text("Thought 1")
    page.keyboard.press("r")
    expect(page.locator("#judge-item")).to_contain_text("Thought 2")
    expect(page.locator("#judge-standing")).to_contain_text("2 of 3 judged · you accepted 1 and rejected 1")
    assert judged(space, ann) == {"well done": "accept", "": "reject"}
    page.keyboard.press("c")
    page.keyboard.type("a draft about arrows")  # its letters are no shortcuts
    page.wait_for_timeout(SETTLING)
    visitor.screenshot("judge")
    page.close()

    visitor.open()
    page = visitor.page
    visitor.find("Problem 7")
    visitor.tab("Judge")
    expect(page.locator("#judge-name").locator("textarea, input").first).to_have_value(ann)
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
    bob = other.name_self()
    expect(other.page.locator("#judge-standing")).to_contain_text("accepted 0 and rejected 0")
    other.page.get_by_label("preference pairs").check()
    expect(other.page.get_by_role("alert")).to_contain_text("Nothing is left to judge")
    assert judged(space, bob) == {}


def test_who_gives_no_name_is_asked_for_it(visit, space):
    visitor = visit()
    visitor.tab("Judge")
    expect(visitor.page.locator("#judge-item [data-item]")).to_be_visible()
    visitor.page.locator("#judge-accept").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("Say who you are first")


def test_a_question_is_answered_side_by_side_while_one_looks_on(visit):
    visitor = visit()
    page = visitor.page
    visitor.tab("Talk")
    assert page.locator("#conversation .turn").count() == 0  # nothing empty is shown
    assert page.locator("#search-tree").count() == 0
    page.locator("#question textarea").fill("How many?")
    page.locator("#left-model input").fill("/no/such/model")
    page.locator("#left-model input").press("Enter")
    page.locator("#ask").click()
    lengths = set()
    notes = page.locator("#conversation .reply .note")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if notes.count() == 2:
            lengths.add(len(page.locator("#conversation .reply").nth(1).inner_text()))
            if re.search("done|spent", notes.nth(1).inner_text()):
                break
        time.sleep(0.02)
    assert len(lengths) > 2  # it came in pieces
    expect(notes.nth(1)).to_contain_text(re.compile(r"\d+ tokens · \d+\.\d s · (done|the budget)"))
    expect(page.locator("#conversation [role=alert]")).to_contain_text("cannot be loaded")  # and the other goes on
    assert page.locator("#conversation .asked").inner_text() == "How many?"


def test_a_search_grows_beside_its_answer_and_its_votes(visit):
    visitor = visit()
    page = visitor.page
    visitor.tab("Talk")
    page.locator("#searches input").check()
    expect(page.locator("#right-model")).to_have_count(0)
    page.locator(".example-button").first.click()
    expect(page.locator("#search-tree .card").first).to_be_visible()
    expect(page.locator("#conversation .reply .note").last).to_contain_text("simulation 16 of 16", timeout=60_000)
    expect(page.locator("#search-tree .tree-status")).to_contain_text("simulation 16 of 16")
    assert "mississippi" in page.locator("#conversation .asked").inner_text()
    page.locator("#search-tree [data-node='1']").dispatch_event("click")
    expect(page.locator("#search-node")).to_contain_text("UCB")
    visitor.screenshot("talk")
    page.locator("#clear").click()
    expect(page.locator("#conversation .turn")).to_have_count(0)
    expect(page.locator("#search-tree .card")).to_have_count(0)


def test_an_empty_question_is_one_sentence(visit):
    visitor = visit()
    visitor.tab("Talk")
    visitor.page.locator("#ask").click()
    expect(visitor.page.get_by_role("alert")).to_have_text("the question is empty: ask something")


def test_the_command_serves_the_same_page(browser, space, tmp_path):
    port = free_port()
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
        visitor = Visitor(browser, f"{url}/")
        visitor.find("Problem 7")
        visitor.tab("Talk")
        expect(visitor.page.locator("#question textarea")).to_be_visible()
        visitor.close()
    finally:
        process.terminate()
        process.wait(20)
        output.close()


def test_on_a_public_space_visitors_are_strangers(browser, space):
    log = JudgementLog(space.directory / f"public {uuid.uuid4().hex}")
    workspace = app.Workspace(str(space.run), talk.Models(["starter"]), log, None, public=True)
    _, url, _ = app.launch(workspace, "127.0.0.1", free_port(), prevent_thread_lock=True, quiet=True)
    visitors = [Visitor(browser, url) for _ in range(2)]
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
    visitors[0].open_source(space.directory)
    expect(page.get_by_role("alert")).to_contain_text("give user/name")
    visitors[0].tab("Talk")
    assert page.locator("#question textarea").get_attribute("maxlength") == "1000"
    for visitor in visitors:
        visitor.close()


def test_results_are_shown_and_parts_of_bars_open_examples(visit, space, tmp_path):
    visitor = visit()
    page = visitor.page
    visitor.tab("Results")
    expect(page.locator("#accuracy-bars")).to_contain_text("42 (28–56)")
    expect(page.locator("#results-table")).to_contain_text("37.1 (32.9–41.4)")
    assert page.locator("#steps svg").count() == 2
    part = page.locator("#endings button[title*='budget spent']")
    part.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#examples")).to_contain_text("budget spent, 2 of 2 outputs")
    expect(page.locator("#examples .thought").first).to_contain_text("truncated 2 <b>")
    page.get_by_role("button", name="Compare with another run").click()
    box = page.locator("#compare-directory").locator("textarea, input").first
    for directory, shown in (
        ("/nowhere", "is not a directory"),
        (tmp_path, "has no results"),
        (space.run, "+0 (+0 to +0)"),
    ):
        box.fill(str(directory))
        page.locator("#compare-button").click()
        expect(page.locator("#compared")).to_contain_text(shown)
    visitor.screenshot("results")
