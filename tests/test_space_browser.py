"""The story and the trees in headless Chromium: what a person does, and that nothing goes wrong or out on the way."""

import re
import time

import pytest


pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")

from hf_treecot.space.story import growing, load_story

from .space import write_run
from .visitor import browser, expect, space, view, visit


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def test_it_opens_on_a_story_that_plays_by_itself(visit):
    page = visit(reduced_motion="no-preference").page
    payload = growing(load_story())
    page.wait_for_function(f"{view('story-tree')}?.step >= 1")  # by itself; a slow machine may see a later one
    expect(page.locator("#story-tree .card").first).to_be_visible()
    page.locator("#story-tree").get_by_role("button", name="Pause").click()
    step = page.evaluate(f"{view('story-tree')}.step")
    assert step < len(payload["simulations"])
    expect(page.locator("#story-tree .tree-status")).to_contain_text(payload["captions"][step])
    page.locator("#story-tree select").select_option("4")
    page.wait_for_timeout(400)
    assert page.evaluate(f"{view('story-tree')}.step") == step
    page.locator("#story-tree").get_by_role("button", name="Next simulation").click()
    assert page.evaluate(f"{view('story-tree')}.step") == step + 1
    page.locator("#story-tree").get_by_role("button", name="Play").click()
    last = len(payload["simulations"])
    expect(page.locator("#story-tree .tree-status")).to_contain_text(f"simulation {last} of {last}")
    expect(page.locator("#story-tree .card.of-chosen").first).to_be_visible()  # the right chain lights up
    expect(page.locator("#story-tree .card.of-rejected").first).to_be_visible()
    assert page.locator("#story-tree .card").count() == len(payload["kind"])
    assert page.locator("#story-pair .divergence").count() == 2
    expect(page.locator("#story-ladder")).to_contain_text("joint")


def test_who_wants_no_motion_sees_the_story_as_it_ends(visit):
    page = visit(reduced_motion="reduce").page
    last = len(load_story().tree.simulations)
    expect(page.locator("#story-tree .tree-status")).to_contain_text(f"simulation {last} of {last}")
    expect(page.locator("#story-tree .card.of-chosen").first).to_be_visible()


def test_each_step_of_the_story_leads_to_the_tab_that_shows_more(visit):
    visitor = visit()
    page = visitor.page
    for button, tab, shows in (
        ("story-judge", "Judge", "#judge-panel"),
        ("story-talk", "Talk", "#question"),
        ("story-results", "Results", "#results-table"),
        ("story-explore", "Explore", "#tree .card"),
    ):
        visitor.tab("Story")
        page.locator(f"#{button}").click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        expect(page.locator(shows).first).to_be_visible()
    expect(page.locator("#problem-title")).to_contain_text(load_story().tree.problem.prompt[:40])
    expect(page.locator("#place")).to_contain_text(re.compile(r"\d+ of \d+ trees"))


def test_search_choose_and_step(visit):
    visitor = visit()
    page = visitor.page
    visitor.tab("Explore")
    expect(page.locator("#tree .card").first).to_be_visible()  # nothing is empty: the first tree is there
    expect(page.locator("#place")).to_contain_text("42 of 42 trees · page 1 of 3")
    page.locator("#page-forward").click()
    expect(page.locator("#place")).to_contain_text("page 2 of 3")
    visitor.find("p-5")
    expect(page.locator("#place")).to_contain_text("1 of 42 trees")
    expect(page.locator("#problem-title")).to_contain_text("Problem 5: what is 6 times 7?")
    for cards, count in (("", 8), (".right", 1), (".wrong", 2), (".kind-answer", 3)):
        expect(page.locator(f"#tree .card{cards}")).to_have_count(count)
    assert page.locator("#tree .card-critic").count() == 2
    assert page.locator("#tree .card .card-text").first.evaluate("e => getComputedStyle(e).fontSize") == "14px"

    page.locator("#tree [data-node='2'] .card-text").click()
    expect(page.locator("#node")).to_contain_text("UCB")
    expect(page.locator("#node math mfrac")).to_be_visible()  # LaTeX is typeset
    expect(page.locator("#node tr", has_text="visits N")).to_contain_text("1")

    page.get_by_role("button", name="Before the first simulation").locator("visible=true").click()
    expect(page.locator("#tree .card")).to_have_count(1)
    step = page.get_by_role("button", name="Next simulation").locator("visible=true")
    step.click()
    expect(page.locator("#tree .card")).to_have_count(4)
    expect(page.locator("#tree .tree-status")).to_have_text("simulation 1 of 3 · right (1)")
    step.click()
    expect(page.locator("#tree .tree-status")).to_have_text("simulation 2 of 3 · wrong (0)")
    page.locator("#tree [data-node='1'] .card-text").click()
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
    tree = page.locator("#tree .tree-stage")
    tree.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    chosen = page.locator("#tree .card.chosen")
    expect(chosen).to_have_attribute("data-node", "4")
    assert tree.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    expect(chosen).to_have_attribute("aria-label", re.compile("thinking, 1 visits, value 1.00: Thought 1"))
    expect(page.locator("#node")).to_contain_text("Thought 1")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator("#tree .card")).to_have_count(2)
    expect(page.locator("#tree .card.chosen")).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#tree .card.chosen .card-fold")).to_have_text("+6")
    page.keyboard.press("Space")
    expect(page.locator("#tree .card")).to_have_count(8)
    page.keyboard.press(",")
    expect(page.locator("#tree .tree-status")).to_contain_text("simulation 2 of 3")
    scale = page.evaluate(f"{view('tree')}.camera.scale")
    page.keyboard.press("+")
    assert page.evaluate(f"{view('tree')}.camera.scale") > scale
    rows = page.locator("#problem-list .tree-row")
    page.locator("#filter-text").locator("textarea, input").first.fill("")
    expect(rows).to_have_count(15)
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()


SLOW = """() => {
  const quick = window.fetch;
  window.fetch = async (address, ...others) => {
    if (String(address).includes("/queue/join")) await new Promise((then) => setTimeout(then, 400));
    return quick(address, ...others);
  };
}"""


def test_whoever_chooses_before_the_answer_came_sees_the_last_choice(visit):
    visitor = visit()
    page = visitor.page
    visitor.find("p-6")
    page.evaluate(SLOW)
    for node in (1, 2, 4):
        page.evaluate(f"{view('tree')}.choose({node})")
        page.wait_for_timeout(150)  # asked, and not answered yet
    expect(page.locator("#node tr", has_text="node").first).to_contain_text("4 of")
    page.locator("#filter-text").locator("textarea, input").first.fill("")
    rows = page.locator("#problem-list .tree-row")
    expect(rows).not_to_have_count(1)
    for number in (0, 1, 2):
        rows.nth(number).click()
        page.wait_for_timeout(150)
    expect(page.locator("#problem-title")).to_contain_text(rows.nth(2).locator(".row-problem").inner_text()[:20])


def test_a_tree_is_moved_and_zoomed_by_mouse(visit):
    visitor = visit()
    page = visitor.page
    visitor.find("p-6")
    box = page.locator("#tree .tree-stage").bounding_box()
    before = page.evaluate(f"{view('tree')}.camera")
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] - 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + box["height"] - 50, steps=4)
    page.mouse.up()
    after = page.evaluate(f"{view('tree')}.camera")
    assert (after["left"] - before["left"], after["top"] - before["top"]) == (60, -30)
    page.locator("#tree .tree-stage").focus()
    page.mouse.wheel(0, -200)
    page.wait_for_function(f"() => {view('tree')}.camera.scale > {after['scale']}")
    page.get_by_role("button", name="Show the whole tree").locator("visible=true").click()
    assert page.evaluate(f"{view('tree')}.camera.scale") <= 1


def test_a_large_tree_is_folded_and_its_map_leads_on(visit):
    visitor = visit()
    page = visitor.page
    started = time.perf_counter()
    visitor.find("A large tree")
    expect(page.locator("#tree .card-fold", has_text="+").first).to_be_visible()
    assert time.perf_counter() - started < 10  # of a busy machine; benchmarks/space.py measures
    assert page.locator("#tree .card").count() < 80
    best = page.evaluate(f"(v => treecotLayout.bestPath(v.tree, v.children, v.visits))({view('tree')})")
    assert all(i in page.evaluate(f"{view('tree')}.cardsAt.order") for i in best)
    page.locator("#tree .card-fold", has_text="+").first.dispatch_event("click")
    expect(page.locator("#tree .card-fold", has_text="+").first).to_be_visible()
    page.get_by_role("button", name="Open all").locator("visible=true").click()
    assert len(page.evaluate(f"{view('tree')}.cardsAt.order")) >= 2000
    assert page.locator("#tree .card").count() == 0  # from so far they are dots
    page.evaluate(f"{view('tree')}.zoom(40)")
    expect(page.locator("#tree .tree-map")).to_be_visible()
    before = page.evaluate(f"{view('tree')}.camera")
    page.locator("#tree .tree-map").click(position={"x": 30, "y": 20})
    page.wait_for_function(f"() => {view('tree')}.camera.top !== {before['top']}")
    page.get_by_role("button", name="Fold all but the best way").locator("visible=true").click()
    assert page.evaluate(f"{view('tree')}.cardsAt.order.length") < 60


def test_a_link_opens_the_very_thought(visit):
    visitor = visit()
    page = visitor.page
    visitor.find("p-5")
    page.locator("#tree [data-node='4'] .card-text").click()
    expect(page.locator("#node")).to_contain_text("4 of")
    page.get_by_role("button", name="Copy a link").locator("visible=true").click()
    expect(page.locator("#tree .tree-status")).to_contain_text("copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert "tree=p-5" in link
    assert "node=4" in link
    other = visit(f"?{link.partition('?')[2]}")
    expect(other.page.get_by_role("tab", name="Explore")).to_have_attribute("aria-selected", "true")
    expect(other.page.locator("#problem-title")).to_contain_text("Problem 5")
    expect(other.page.locator("#tree .card.chosen")).to_have_attribute("data-node", "4")
    expect(other.page.locator("#node")).to_contain_text("4 of")
    lost = visit("?tab=explore&tree=gone")  # shows what opens by itself
    expect(lost.page.get_by_role("alert")).to_contain_text("'gone' is not in this dataset")


def test_hostile_text_stays_text(visit):
    visitor = visit()
    page = visitor.page
    visitor.find("evil")
    page.evaluate(f"{view('tree')}.foldAll(true)")
    for node in range(10):
        page.evaluate(f"{view('tree')}.choose({node})")
        expect(page.locator("#node tr", has_text="node").first).to_contain_text(f"{node} of")
    expect(page.locator("#node .text").first).to_contain_text("<script>")
    page.evaluate(f"{view('tree')}.choose(8)")
    expect(page.locator("#node tr").first).to_contain_text("8 of")
    assert len(page.locator("#node .text").first.inner_text()) > 900_000  # the thought of 1 MB, whole
    visitor.name_self("Mallory <img src=x onerror=window.hacked=1>")
    for selector in ("#tree", "#node", "#pair", "#judge-item", "#problem-list", "#problem-title"):
        assert page.locator(f"{selector} script, {selector} img, {selector} a").count() == 0
    assert page.evaluate("window.hacked") is None


def test_a_source_that_is_none_gets_a_message(visit, space):
    (space.directory / "EMPTY").mkdir(exist_ok=True)
    write_run(space.directory / "NO TREES", [])
    visitor = visit()
    page = visitor.page
    for path, message in (
        ("/nowhere", "does not exist"),
        (space.directory / "EMPTY", "is not a run"),
        (space.directory / "NO TREES", "has no trees"),
    ):
        visitor.open_source(path)
        expect(page.get_by_role("alert")).to_contain_text(message)
        expect(page.locator("#problem-list .tree-row").first).to_be_visible()  # what was open stays open
    visitor.open_source("examples")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator("#place")).to_contain_text(re.compile(r"^\s*1\d of 1\d trees"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_trees_are_a_column_and_nothing_is_cut(visit, scheme):
    visitor = visit(**PHONE, color_scheme=scheme)
    page = visitor.page
    visitor.find("Problem 6")
    tree = page.locator("#tree .tree-stage")
    page.wait_for_function("() => document.querySelector('#tree .tree-stage').getBoundingClientRect().top < 844")
    assert page.evaluate(f"{view('tree')}.cardsAt.down")
    box = tree.bounding_box()
    card = page.locator("#tree .card").nth(2).bounding_box()
    assert box["x"] <= card["x"]
    assert card["x"] + card["width"] <= box["x"] + box["width"]
    page.locator("#tree .card .card-text").nth(2).tap()
    expect(page.locator("#node")).to_contain_text("UCB")
    for tab in ("Story", "Explore", "Judge", "Talk", "Results"):
        visitor.tab(tab)
        page.wait_for_timeout(150)
        assert not visitor.is_wider_than_its_window()
        visitor.screenshot(f"phone-{scheme}-{tab.lower()}")


@pytest.mark.parametrize(("scheme", "device"), [("light", {}), ("dark", {}), ("light", PHONE)])
def test_axe_finds_nothing_serious(visit, scheme, device):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    visitor = visit(color_scheme=scheme, **device)
    visitor.find("p-5")  # which has a pair
    for tab, shown in (
        ("Story", "#story-tree .card"), ("Explore", "#tree .card"), ("Judge", "#judge-item [data-item]"),
        ("Talk", "#question"), ("Results", "#results-table"),
    ):  # fmt: skip
        visitor.tab(tab)
        expect(visitor.page.locator(shown).first).to_be_visible()
        visitor.page.wait_for_timeout(200)  # colours change slowly
        found = axe.run(visitor.page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] != "minor"] == [], tab
