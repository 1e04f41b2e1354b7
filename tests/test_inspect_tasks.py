"""The benchmarks in Inspect: on a server and in process, with the figures that lighteval's tasks give."""

# ruff: noqa: E402
import json
from dataclasses import replace

import pytest


pytest.importorskip("lighteval", reason="lighteval is not installed")
pytest.importorskip("inspect_ai", reason="Inspect is not installed")
pytest.importorskip("acp", reason="Inspect is installed without what it needs")
from hf_treecot.evaluation import lighteval_compat as compat


compat.prepare()

from inspect_ai import eval as inspect_eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from lighteval.tasks.requests import Doc

from hf_treecot.evaluation.inspect_tasks import REPLIES, TASKS, samples_of
from hf_treecot.evaluation.lighteval_tasks import OutputMetrics, Outputs, to_doc
from hf_treecot.evaluation.metrics import CONVERSATION, REASONING
from hf_treecot.evaluation.tasks import BENCHMARKS, TaskOptions
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.openai import make_app
from hf_treecot.testing.running import serve


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Runs a task; gives its log."""
    monkeypatch.setenv("INSPECT_DISPLAY", "none")

    def evaluate(task, model, **options):
        (log,) = inspect_eval(task, model=model, log_dir=str(tmp_path / "logs"), **options)
        assert log.status == "success", log.error
        return log

    return evaluate


def said(*contents, stop_reason="stop"):
    """A model that says that, and how many tokens it took."""
    outputs = [ModelOutput.from_content("m", content, stop_reason) for content in contents]
    for output in outputs:
        output.usage = ModelUsage(input_tokens=1, output_tokens=7, total_tokens=8)  # else it would be counted online
    return get_model("mockllm/model", custom_outputs=outputs)


def lightevals(log, kind=REASONING):
    """The figures that the lighteval task gives of the outputs in a log, by the problem's id."""
    outputs = {}
    for sample in log.samples:
        outputs.setdefault(sample.id, []).append(sample)
    figures = {}
    for name, samples in outputs.items():
        replies = [reply for sample in samples for reply in sample.store[REPLIES]]
        response = Outputs(
            text=[reply["text"] for reply in replies], token_counts=[reply["tokens"] for reply in replies],
            finish_reasons=["length" if reply["is_cut"] else "stop" for reply in replies],
        )  # fmt: skip
        doc = Doc("", [""], 0, task_name="t", specific={"problems": samples[0].metadata["problems"]})
        figures[name] = OutputMetrics(kind, len(samples)).compute(doc, response)
    return figures


def test_samples_are_the_documents_of_lighteval(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    row = {"question": "What is 6 times 7?", "answer": "It is 42.\n#### 42"}
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(row))
    (sample,) = samples_of(BENCHMARKS["gsm8k"], TaskOptions(data=str(tmp_path)))
    doc = to_doc(BENCHMARKS["gsm8k"], "benchmark", {**row, "__index": 0}, "t")
    assert (sample.input, sample.target) == (doc.query, doc.choices[0])
    assert sample.metadata["problems"] == doc.specific["problems"]


def test_a_model_on_a_server_scored_as_lighteval_scores_it(evaluate, monkeypatch):
    backend = ScriptedBackend()
    monkeypatch.setattr(backend, "write", lambda request, write=backend.write: answer(request, write))
    with serve(app := make_app(backend)) as url:
        monkeypatch.setenv("LOOPBACK_API_KEY", "-")
        monkeypatch.setenv("LOOPBACK_BASE_URL", f"{url}/v1")
        model = f"openai-api/loopback/{backend.identity.model}"
        log = evaluate(TASKS["letters"](max_new_tokens=40), model, limit=12, epochs=2, temperature=0.5)
    assert len(app.state.requests) == 24
    assert {request.max_new_tokens for request in app.state.requests} == {40}
    theirs = lightevals(log)
    (score,) = log.results.scores
    for name in ("accuracy", "no_answer_rate", "no_answer_truncated", "pass@2", "maj@2", "tokens", "repetition"):
        values = [figures[name] for figures in theirs.values()]
        assert score.metrics[name].value == pytest.approx(sum(values) / len(values)), name
    assert 0 < score.metrics["accuracy"].value < 1
    assert score.metrics["accuracy_low"].value < score.metrics["accuracy"].value
    for sample in log.samples:  # row by row: each output by itself
        alone = lightevals(log.model_copy(update={"samples": [sample]}))[sample.id]
        value = sample.scores["verified"].value
        assert value == {name: alone[name] for name in value}


def answer(request, write):
    """What the scripted world writes, ending in an answer two times of three."""
    completion = write(request)
    number = len(request.prompt) + request.seed
    return replace(completion, text=completion.text + (f" \\boxed{{{number % 3}}}" if number % 5 else ""))


def test_a_model_in_this_process(evaluate, tiny_model_directory):
    log = evaluate(TASKS["letters"](max_new_tokens=12), f"treecot/{tiny_model_directory}", limit=3, epochs=2,
                   temperature=1.0, seed=3)  # fmt: skip
    (score,) = log.results.scores
    assert score.metrics["no_answer_rate"].value == pytest.approx(
        sum(figures["no_answer_rate"] for figures in lightevals(log).values()) / 3
    )
    assert all(1 <= reply["tokens"] <= 12 for sample in log.samples for reply in sample.store[REPLIES])
    texts = [sample.store[REPLIES][0]["text"] for sample in log.samples]
    assert len(set(texts)) > 3  # epochs are samples of their own


def test_a_conversation_of_several_turns(evaluate, tmp_path):
    pytest.importorskip("lm_eval")
    lower = {"instruction_id_list": '["change_case:english_lowercase"]', "kwargs": '["{}"]'}
    row = {"key": "1", "language": "English"}
    for turn in (1, 2, 3):
        row |= {f"turn_{turn}_{name}": value for name, value in lower.items()}
        row[f"turn_{turn}_prompt"] = json.dumps({"role": "user", "content": f"say {turn}"})
    (tmp_path / "multi_if").mkdir()
    (tmp_path / "multi_if" / "train.jsonl").write_text(json.dumps(row))
    replies = ["all of this is fine with me", "Not All Of This", "and this is fine again"]
    log = evaluate(TASKS["multi_if"](data=str(tmp_path)), said(*replies))
    (sample,) = log.samples
    assert [message.text for message in sample.messages] == [
        text for turn, reply in enumerate(replies, start=1) for text in (f"say {turn}", reply)
    ]
    metrics = log.results.scores[0].metrics
    assert [metrics[f"turn_{turn}_prompt_level_strict_acc"].value for turn in (1, 2, 3)] == [1.0, 0.0, 1.0]
    (theirs,) = lightevals(log, CONVERSATION).values()
    assert metrics["accuracy"].value == theirs["accuracy"] == pytest.approx(2 / 3)


def test_thinking_that_a_provider_keeps_apart_counts(evaluate):
    from inspect_ai.model import ContentReasoning, ContentText

    content = [ContentReasoning(reasoning="It is hard."), ContentText(text="So the answer is 2.")]
    log = evaluate(TASKS["letters"](), said(content, stop_reason="max_tokens"), limit=1)
    (reply,) = log.samples[0].store[REPLIES]
    assert reply == {"text": "<think>It is hard.</think>\nSo the answer is 2.", "tokens": 7, "is_cut": True}
