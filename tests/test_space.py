"""The Space without a browser: what it reads, how it escapes, what it lets a visitor do."""

import asyncio
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest


pytest.importorskip("gradio")
from gradio_client import Client

from hf_treecot.base import Problem
from hf_treecot.engines.server_process import free_port
from hf_treecot.errors import InvalidInputError
from hf_treecot.evaluation.judges import majority
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.selection.judgements import Judgement, JudgementLog, item_id
from hf_treecot.space import app, judging, rendering, talk
from hf_treecot.space.arguments import SpaceArguments
from hf_treecot.space.tree_index import Query, open_trees

from .space import (
    HOSTILE,
    SPACE,
    hostile_tree,
    large_tree,
    small_tree,
    write_run,
)
from .test_dataset import damage_a_tree
from .tiny_models import save_tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    trees = [
        small_tree(i, ("reflection", "hypothesis")[i % 2], right=i % 4, wrong=(3 - i) % 4, source=f"source {i % 3}")
        for i in range(24)
    ]
    return write_run(tmp_path_factory.mktemp("runs") / "run", trees)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.mark.parametrize("below", ["", "dataset"])
def test_trees_are_found_by_what_is_known_of_them(run, below):
    index = open_trees(str(run / below))
    assert len(index) == 24

    def ids(**query):
        return index.find(Query(**query))["problem_id"].to_pylist()

    assert ids() == [f"p-{i}" for i in range(24)]
    assert ids(source="source 1", pattern="hypothesis") == ["p-1", "p-7", "p-13", "p-19"]
    assert ids(text="PROBLEM 7") == ["p-7"]
    assert ids(min_success=1.0) == ["p-3", "p-7", "p-11", "p-15", "p-19", "p-23"]
    assert ids(max_success=0.0)[:2] == ["p-0", "p-4"]
    # Every tree has 24 tokens: each filter takes all of them, or none.
    assert ids(min_tokens=24) == ids(max_tokens=24) == ids()
    assert ids(min_tokens=25) == ids(max_tokens=23) == []
    assert ids(order="success rate, highest first")[0] == "p-3"
    assert ids(order="success rate, lowest first")[0] == "p-0"
    assert index.values("source") == ["source 0", "source 1", "source 2"]


def test_one_tree_and_its_pairs_are_read_as_they_were_written(run):
    index = open_trees(str(run))
    assert index.tree(5) == small_tree(5, "hypothesis", 1, 2, "source 2")
    (pair,) = index.pairs(index.tree(5))
    assert pair["tree_id"] == index.tree(5).tree_id
    assert index.pairs(index.tree(0)) == []
    with pytest.raises(InvalidInputError, match="row=24 is out of range"):
        index.tree(24)


def test_a_malformed_tree_is_refused_and_judging_goes_past_it(tmp_path):
    run = write_run(tmp_path, [small_tree(i) for i in range(3)])
    damage_a_tree(run / "dataset", 1)
    index = open_trees(str(run))
    with pytest.raises(InvalidInputError, match="malformed"):
        index.tree(1)
    assert {item.row for item in judging.walk(index, [0, 1, 2], judging.KINDS[0], None, 1)} == {0, 2}


def test_row_groups_beyond_the_first_are_found(tmp_path):
    index = open_trees(str(write_run(tmp_path, (small_tree(i) for i in range(1203)))))
    assert [index.tree(row).problem.problem_id for row in (0, 499, 500, 1202)] == ["p-0", "p-499", "p-500", "p-1202"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "source is empty"),
        ("no such thing", "does not exist"),
        ("EMPTY", "is not a run"),
        ("BROKEN", "its trees cannot be read"),
        ("OTHER", "its trees cannot be read"),
        ("NO TREES", "has no trees"),
        ("user/none", "the Hub cannot be read"),
    ],
)
def test_a_source_that_is_none_is_one_clear_line(tmp_path, source, message):
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BROKEN" / "trees").mkdir(parents=True)
    (tmp_path / "BROKEN" / "trees" / "a.parquet").write_bytes(b"PAR1 nonsense")
    import pandas

    (tmp_path / "OTHER" / "trees").mkdir(parents=True)
    pandas.DataFrame({"a": [1]}).to_parquet(tmp_path / "OTHER" / "trees" / "a.parquet")
    write_run(tmp_path / "NO TREES", [])
    path = tmp_path / source
    with pytest.raises(InvalidInputError, match=message) as caught:
        open_trees(str(path) if source.isupper() else source)
    assert "\n" not in str(caught.value)


def elements_of(html):
    """All elements of a piece of HTML, by the standard library's HTML parser: (name, attributes)."""
    from html.parser import HTMLParser

    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, dict(attrs)))

    Parser().feed(html)
    return found


@pytest.mark.parametrize("text", [*HOSTILE, *(f"<thinking>{text}" for text in HOSTILE), "<answer>" * 3, "</answer>"])
def test_hostile_text_stays_text(text):
    allowed = {
        "div",
        "span",
        "math",
        "mrow",
        "mi",
        "mo",
        "mn",
        "mtext",
        "mfrac",
        "section",
        "h3",
        "small",
        "code",
        "pre",
        "mark",
    }
    for html in (rendering.text_html(text), rendering.chain_html(text), rendering.pair_html(text, text + "!"),
                 rendering.alert_html(text)):  # fmt: skip
        for name, attributes in elements_of(html):
            assert name in allowed
            assert not {"href", "src", "onload", "onerror", "style"} & attributes.keys()


def test_text_that_is_shown_is_the_text_that_was_written():
    from html import unescape
    from re import sub

    for text in HOSTILE[:5]:
        assert unescape(sub(r"<[^>]*>", "", rendering.text_html(text))) == text


def test_formulas_are_typeset():
    html = rendering.text_html(r"so $\frac{1}{2}$ and \(x^2\), \boxed{42}; it costs $5 or $6 <b>")
    assert html.count("<math") == 3
    assert "<mfrac>" in html
    assert "<menclose" in html
    assert "it costs $5 or $6 &lt;b&gt;" in html


@pytest.mark.parametrize("text", ["$" * 200_000, r"\(" * 200_000, r"\boxed{{" * 100_000, "<thinking>" * 100_000,
                                  "$" + "{" * 399 + "$", r"$\left(" * 2000, "$x$ " * 4900])  # fmt: skip
def test_no_text_takes_long(text):
    started = time.perf_counter()
    rendering.chain_html(text)
    assert time.perf_counter() - started < 5


def test_a_pair_shows_where_it_parts():
    html = rendering.pair_html(
        "<thinking>same</thinking>\n<answer>42</answer>", "<thinking>same</thinking>\n<answer>41</answer>"
    )
    assert html.count('class="divergence"') == 2
    assert html.count('class="thought kind-thinking shared"') == 2
    assert '<span class="shared">4</span>' in html
    other_kind = rendering.pair_html(
        "<thinking>a</thinking>\n<answer>1</answer>", "<thinking>a</thinking>\n<reflection>b</reflection>"
    )
    assert other_kind.count('class="divergence"') == 2


def test_a_step_shows_the_visits_that_the_search_had():
    tree = small_tree(right=1, wrong=2)
    assert rendering.visits_at(tree, 0) == ([0] * len(tree.nodes), [0.0] * len(tree.nodes))
    visits, values = rendering.visits_at(tree, len(tree.simulations))
    assert visits == [node.visit_count for node in tree.nodes]
    assert values == [node.value_sum for node in tree.nodes]
    html = rendering.node_html(tree, 2, 2, 2.0)
    assert "<th scope='row'>UCB</th><td>2.665</td>" in html  # 1/1 + 2 * sqrt(ln 2 / 1)


def test_the_payload_of_a_large_tree_is_small():
    payload = rendering.tree_payload(hostile_tree())
    assert len(json.dumps(payload)) < 5000
    assert len(json.dumps(rendering.tree_payload(large_tree()))) < 300_000


def test_judging_goes_from_item_to_item_and_back(run):
    index = open_trees(str(run))
    rows = [1, 2, 3]
    chains = list(judging.walk(index, rows, judging.KINDS[0], None, 1))
    assert [(item.row, item.number) for item in chains] == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert list(judging.walk(index, rows, judging.KINDS[0], chains[2], 1)) == chains[3:]
    assert list(judging.walk(index, rows, judging.KINDS[0], chains[2], -1)) == chains[:2][::-1]
    pairs = list(judging.walk(index, rows, judging.KINDS[1], None, 1))
    assert [item.row for item in pairs] == [1, 2]
    assert judging.find(index, rows, judging.KINDS[0], None, 1, lambda item: item.row == 3) == chains[3]
    (pair,) = index.pairs(index.tree(1))
    texts = [pair[side][0]["content"] for side in ("chosen", "rejected")]
    assert pairs[0].item == item_id(index.tree(1).problem.prompt, *texts)  # what selection looks up


def test_on_a_public_space_a_name_alone_is_nobody():
    assert judging.annotator("  Ann  Lee ", "", public=False) == "Ann Lee"
    assert judging.annotator("Ann", "", public=True) == ""
    one, other = (judging.annotator("Ann", key, public=True) for key in ("secret", "another"))
    assert one != other
    assert "secret" not in one


def test_an_answer_streams_and_a_search_grows(model):
    models = talk.Models([model])
    limits = talk.Limits(tokens=64, simulations=4, seconds=60)
    output, lengths = talk.Output(), []
    arguments = (models, "How many?", limits, 1.0, 0)
    for _ in talk.follow(lambda: talk.write_answers([(model, output)], *arguments), 60):
        lengths.append(len(output.text))
    assert output.error == ""
    assert 0 < output.tokens <= 64
    assert output.is_done
    assert output.seconds > 0
    assert output.note in ("done", "the budget of 64 tokens is spent")
    found = talk.Found()
    for _ in talk.follow(lambda: talk.search_answer(models, model, "How many?", "reflection", limits, 0, found), 60):
        pass
    assert len(found.tree.simulations) == 4
    assert found.note.startswith("done")
    assert found.seconds > 0


def test_pieces_are_one_text(model):
    """Greedy, an answer in pieces is the answer in one piece, as far as the tokenizer cuts a text in one way."""
    models = talk.Models([model])

    async def both():
        output = talk.Output()
        await talk.write_answer(model, output, models, "How many?", talk.Limits(tokens=48), 0.0, 0)
        async with models.open(model) as engine:
            prompt = engine.render_chat([{"role": "user", "content": "How many?"}])
            whole = await engine.generate(talk.Request(prompt, (), 48, 0.0, 1.0, 0))
        return output.text, whole.text

    pieces, whole = asyncio.run(both())
    assert pieces[:20] == whole[:20]


def test_answers_that_mean_the_same_vote_together():
    """0.5 and 1/2 are one answer: neither alone has the most votes."""
    tree = Tree(Problem("q", "?", "", "", "talk"), "reflection")
    for text in (
        r"\boxed{7}",
        r"\boxed{0.5}",
        r"\boxed{7}",
        r"\boxed{\frac{1}{2}}",
        r"\boxed{\dfrac12}",
        r"\boxed{.5}",
    ):
        leaf = tree.add(Node("answer", "answer", text, 0))
        verdict = asyncio.run(majority(tree, leaf))
        tree.nodes[leaf].reward, tree.nodes[leaf].answer = verdict.reward, verdict.answer
    found = talk.Found(tree)
    assert sorted(found.votes.values()) == [2, 4]
    assert "7" not in found.best_chain()
    assert talk.Found().best_chain() == ""


@pytest.mark.parametrize(
    ("name", "any_other", "message"),
    [
        ("/no/such/model", True, "cannot be loaded"),
        ("another", False, "is not offered here"),
        ("", True, "not offered"),
    ],
)
def test_a_model_that_cannot_be_used_says_so_and_the_other_goes_on(model, name, any_other, message):
    models = talk.Models([model], any_other)
    outputs = [talk.Output(), talk.Output()]
    sides = list(zip((name, model), outputs, strict=True))
    for _ in talk.follow(lambda: talk.write_answers(sides, models, "How many?", talk.Limits(tokens=8), 0.0, 0), 60):
        pass
    assert message in outputs[0].error
    assert outputs[1].tokens > 0
    assert not outputs[1].error


def test_a_server_is_talked_to(tmp_path):
    from hf_treecot.testing import openai, running
    from hf_treecot.testing.backends import ScriptedBackend

    backend = ScriptedBackend()
    backend.tokenizer.save_pretrained(tmp_path)
    with running.serve(openai.make_app(backend)) as url:
        models, output = talk.Models([f"openai+{url}#{tmp_path}"]), talk.Output()
        arguments = ([(models.names[0], output)], models, "How many?", talk.Limits(tokens=32), 0.5, 0)
        for _ in talk.follow(lambda: talk.write_answers(*arguments), 60):
            pass
    assert output.error == ""
    assert output.tokens > 0


@pytest.mark.parametrize("offered", [True, False])
def test_only_offered_servers_get_the_token(offered, tmp_path, monkeypatch):
    from hf_treecot.testing import openai, running
    from hf_treecot.testing.backends import ScriptedBackend

    monkeypatch.setenv("TREECOT_SERVER_TOKEN", "secret-of-a-server")
    backend = ScriptedBackend()
    backend.tokenizer.save_pretrained(tmp_path)
    with running.serve(app := openai.make_app(backend)) as url:
        name, output = f"openai+{url}#{tmp_path}", talk.Output()
        models = talk.Models([name] if offered else ["starter"], any_other=True)
        arguments = ([(name, output)], models, "How many?", talk.Limits(tokens=32), 0.5, 0)
        for _ in talk.follow(lambda: talk.write_answers(*arguments), 60):
            pass
    assert output.tokens > 0
    assert ("secret-of-a-server" in str(app.state.headers)) is offered


def test_a_server_that_is_down_says_so(model, monkeypatch):
    monkeypatch.setattr(talk, "PATIENCE", 0.5)
    output = talk.Output()
    models = talk.Models(["openai+http://127.0.0.1:9"])
    arguments = ([(models.names[0], output)], models, "How many?", talk.Limits(tokens=8), 0.0, 0)
    for _ in talk.follow(lambda: talk.write_answers(*arguments), 60):
        pass
    assert "127.0.0.1:9" in output.error


def test_what_takes_too_long_is_stopped():
    with pytest.raises(InvalidInputError, match="more than 0 s and was stopped"):
        list(talk.follow(lambda: asyncio.sleep(30), 0.2))


def test_a_visitor_who_goes_stops_the_work():
    cancelled = []

    async def work():
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    generator = talk.follow(work, 30)
    next(generator)
    generator.close()
    deadline = time.monotonic() + 5
    while not cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cancelled


@pytest.mark.parametrize(
    ("question", "message"), [(" ", "the question is empty"), ("x" * 1001, "has 1,001 characters")]
)
def test_questions_are_limited(question, message):
    from hf_treecot.space.workspace import PUBLIC_LIMITS

    with pytest.raises(InvalidInputError, match=message):
        PUBLIC_LIMITS.check_question(question)


def test_the_space_has_a_header_and_requirements():
    from huggingface_hub import RepoCard

    data = RepoCard.load(SPACE / "README.md").data.to_dict()
    assert data["sdk"] == "gradio"
    assert (SPACE / data["app_file"]).is_file()
    assert "hf-treecot" in (SPACE / "requirements.txt").read_text()


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("selector", "backgrounds"), [(":root", ("#ffffff", "#fafafa")), (".dark", ("#27272a",))])
def test_colours_can_be_read(selector, backgrounds):
    css = (Path(app.__file__).parent / "style.css").read_text()
    block = css[css.index(f"{selector} {{") :].partition("}")[0]
    colours = dict(re.findall(r"--treecot-(\w+): (#\w{6})", block))
    assert {"thinking", "answer", "right", "wrong", "edge"} <= colours.keys()
    for name in ("alert", "line", "card"):  # of backgrounds and frames
        colours.pop(name)
    for name, colour in colours.items():
        for background in backgrounds:
            low, high = sorted((luminance(colour), luminance(background)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, background)


# Machado, Oliveira and Fernandes 2009: what people without the cones for red, or for green, see.
BLIND = {
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
}


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("selector", [":root", ".dark"])
def test_right_and_wrong_differ_for_who_is_colour_blind(selector, kind):
    css = (Path(app.__file__).parent / "style.css").read_text()
    block = css[css.index(f"{selector} {{") :].partition("}")[0]
    seen = []
    for name in ("right", "wrong"):
        (colour,) = re.findall(rf"--treecot-{name}: #(\w{{6}})", block)
        channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        seen.append([sum(a * b for a, b in zip(row, channels, strict=True)) for row in BLIND[kind]])
    assert sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5 > 0.25  # of 1.73 between black and white


@pytest.fixture
def public_space(run, tmp_path):
    log = JudgementLog(tmp_path / "judgements")
    log.add(Judgement("x", "reject", "Ann#secret", "mine alone"))
    workspace = app.Workspace(str(run), talk.Models(["starter"]), log, None, public=True)
    _, url, _ = app.launch(workspace, "127.0.0.1", free_port(), prevent_thread_lock=True, quiet=True)
    yield SimpleNamespace(url=url, workspace=workspace, log=log)
    import gradio

    gradio.close_all()


def test_a_public_space_gives_away_nothing(public_space, tmp_path):
    from huggingface_hub.utils import httpx

    (tmp_path / "secret.txt").write_text("secret")
    base = public_space.url.rstrip("/")
    for path in ("/etc/passwd", str(tmp_path / "secret.txt"), str(public_space.log.path), str(SPACE / "app.py")):
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
            assert httpx.get(f"{base}{route}{path}").status_code in (403, 404)
    client = Client(public_space.url, verbose=False)
    assert client.view_api(return_format="dict")["named_endpoints"] == {}
    with pytest.raises(InvalidInputError, match="does not exist: give user/name"):
        public_space.workspace.open(str(tmp_path))
    assert len(public_space.workspace.open(public_space.workspace.source)) == 24


def test_a_source_that_is_none_is_refused_at_the_start(tmp_path):
    with pytest.raises(InvalidInputError, match="source='nope' is neither a directory nor user/name on the Hub"):
        app.workspace_of(SpaceArguments(source="nope"))
