import math

import pytest

from hf_treecot.base import Problem
from hf_treecot.errors import InvalidInputError, VerifierError
from hf_treecot.verifiers import verifier_version
from hf_treecot.verifiers.confidence import mean_confidence, verify
from hf_treecot.verifiers.worker import VerifierPool

from .mock_completions_server import MockCompletionsServer


PROBLEM = Problem("p", "Write something surely nice.", "", "confidence")


@pytest.fixture
def server(monkeypatch):
    with MockCompletionsServer() as mock:
        monkeypatch.setenv("TREECOT_CONFIDENCE_URL", mock.url)
        monkeypatch.setenv("TREECOT_CONFIDENCE_MODEL", "mock")
        yield mock


def test_mean_confidence_by_hand():
    assert mean_confidence([-1.0], [[-1.0, -1.0, -1.0, -1.0]]) == pytest.approx(1 / 5)
    assert mean_confidence([-1.0], [[-1.0] * 9]) == pytest.approx(1 / 5)  # only the best four
    assert mean_confidence([0.0], [[]]) == 1.0
    assert mean_confidence([-1.0, 0.0], [[-1.0], [-math.inf]]) == pytest.approx((0.5 + 1) / 2)
    assert 0 < mean_confidence([-2000.0], [[0.0]]) < 1e-9
    with pytest.raises(ValueError, match="0 tokens"):
        mean_confidence([], [])


def test_a_sure_answer_gets_more_and_both_are_labelled_unverified(server):
    sure, unsure = verify("The answer is: sure sure sure sure", PROBLEM), verify("I do not know this", PROBLEM)
    assert sure.reason == unsure.reason == "unverified"
    assert 0 < unsure.reward < 0.5 < sure.reward < 1
    expected = math.exp(-0.1) / (math.exp(-0.1) + sum(math.exp(-2 - i) for i in range(4)))
    assert verify("sure", PROBLEM).reward == pytest.approx(expected)  # neither the prompt's tokens nor the next one
    path, body, authorization = server.server.requests[-1]
    assert (path, body["echo"], body["logprobs"], authorization) == ("/v1/completions", True, 5, None)
    assert "unverified" in verifier_version("confidence")
    assert verify(" ", PROBLEM).reason == "no_answer"


def test_the_version_names_the_model_and_the_server_that_give_the_rewards(server, monkeypatch):
    assert verifier_version("confidence") == "2, unverified, model mock, server 0.11.0"
    monkeypatch.setenv("TREECOT_CONFIDENCE_MODEL", "another")
    assert verifier_version("confidence") == "2, unverified, model another, server 0.11.0"
    monkeypatch.setenv("TREECOT_CONFIDENCE_URL", "http://127.0.0.1:9")  # nobody there
    with pytest.raises(InvalidInputError, match="server 'http://127.0.0.1:9' cannot be asked .ConnectError.*start it"):
        verifier_version("confidence")
    monkeypatch.delenv("TREECOT_CONFIDENCE_URL")
    assert verifier_version("confidence") == "2, unverified"


async def test_in_a_pool_a_server_that_fails_is_a_failure_never_a_reward(server, monkeypatch):
    monkeypatch.setenv("TREECOT_CONFIDENCE_API_KEY", "secret-token")
    async with VerifierPool(num_workers=1) as pool:
        assert (await pool.verify("sure", PROBLEM)).reason == "unverified"
        assert server.server.requests[-1][2] == "Bearer secret-token"
        server.server.status = 503
        with pytest.raises(VerifierError, match="503") as raised:
            await pool.verify("sure", PROBLEM)
        assert "secret-token" not in str(raised.value)
        server.server.status, server.server.edit = 200, lambda logprobs: None
        with pytest.raises(VerifierError, match="the server's reply has no logprobs"):
            await pool.verify("sure", PROBLEM)


def test_without_top_log_probabilities_or_a_server_it_fails(server, monkeypatch):
    server.server.edit = lambda logprobs: {**logprobs, "top_logprobs": [None] * len(logprobs["tokens"])}
    with pytest.raises(ValueError, match="gives no top log-probabilities"):
        verify("sure", PROBLEM)
    monkeypatch.delenv("TREECOT_CONFIDENCE_URL")
    with pytest.raises(ValueError, match="set TREECOT_CONFIDENCE_URL"):
        verify("sure", PROBLEM)
