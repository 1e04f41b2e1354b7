"""Serve a model that searches, behind OpenAI's protocol: any client of it can ask.

    treecot serve                                             # the starter model, at http://127.0.0.1:8000/v1
    treecot serve --model Qwen/Qwen2.5-1.5B-Instruct --keep runs/served
    treecot serve --engine openai --servers http://localhost:8001 --host 0.0.0.0

The model's name answers plainly, NAME:samples by a vote over samples, NAME:search by Monte Carlo Tree Search. Keys of
clients come from the variable TREECOT_API_KEYS, separated by commas.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from ..engines.engine import Engine
from ..errors import InvalidInputError
from ..mcts.pattern import available_patterns, load_pattern
from ..mcts.search import SearchConfig
from ..starter.built_in import BUILT_IN
from ..verifiers import load_verifier
from .engines import EngineArguments, open_engines
from .parser import fail, parse, run
from .value import load_value_model


@dataclass
class ServeArguments:
    """Where it is served, how it decodes, and how much."""

    host: str = field(default="127.0.0.1", metadata={"help": "Address; 0.0.0.0 is open to other machines."})
    port: int = field(default=8000, metadata={"help": "Port; 0 chooses a free one."})
    name: str | None = field(default=None, metadata={"help": "Name of the model. Default: as it is named here."})
    api_keys: list[str] = field(
        default_factory=list,
        metadata={"help": "Keys of clients. Better set TREECOT_API_KEYS, which others cannot see. Default: no key."},
    )
    pattern: str = field(
        default="reflection",
        metadata={
            "help": f"Of searches: {', '.join(available_patterns())}, free (the model chooses), or a .yaml file."
        },
    )
    child_selection: str = field(default="uct", metadata={"help": "How a search goes down: uct, puct, thompson."})
    branching: str = field(
        default="pattern",
        metadata={
            "help": "Where a search asks for more thoughts than its pattern says: pattern (nowhere), root, entropy, "
            "disagreement, thompson."
        },
    )
    stopping: str = field(
        default="majority_decided",
        metadata={
            "help": "majority_decided, probability_decided: a search stops as soon as the majority, or the most "
            "probable answer, will hardly change; rewards: it does not."
        },
    )
    greedy: str = field(
        default="never",
        metadata={"help": "What a search writes greedily: never anything, first_chain, or continuations too."},
    )
    search_reward: str = field(
        default="majority",
        metadata={"help": "Of a search's answers: majority, confidence, value, or your own as module:function."},
    )
    answer_vote: str | None = field(
        default=None,
        metadata={
            "help": "Which answer is given: majority, log_probability, value (of samples with a value_model "
            "alone), and of a search reward_model too. "
            "Default: log_probability where the engine gives the model's own, else majority; reward_model, if "
            "search_reward is given."
        },
    )
    value_model: str | None = field(
        default=None,
        metadata={
            "help": "Hub name or directory of a model that treecot value trained, for answer_vote or search_reward "
            "value."
        },
    )
    verifier: str = field(
        default="math",
        metadata={"help": "Whose notion of equality makes two answers one vote: math, letters, planning, …"},
    )
    temperature: float = field(default=0.7, metadata={"help": "Sampling, where a request says nothing."})
    top_p: float = field(default=0.95, metadata={"help": "Nucleus, where a request says nothing."})
    answer_tokens: int = field(
        default=1024,
        metadata={
            "help": "Generated tokens of one answer. A search or a vote may spend those of 2, 4, 8, 16 or 32 answers, "
            "by reasoning_effort: minimal, low, medium, high or xhigh."
        },
    )
    thought_tokens: int = field(default=512, metadata={"help": "Generated tokens of one thought of a search."})
    simulations_in_flight: int = field(
        default=1, metadata={"help": "Simulations of one search at the same time; more than one is not reproducible."}
    )
    keep: str | None = field(
        default=None, metadata={"help": "Directory in which the trees of requests are kept as a dataset."}
    )
    max_requests: int = field(default=64, metadata={"help": "Requests that are worked on at the same time."})
    max_queue: int = field(default=256, metadata={"help": "Requests that may wait; others are told to come again."})
    max_tokens: int = field(default=32_768, metadata={"help": "Generated tokens of a request, at most."})
    max_seconds: float = field(default=600.0, metadata={"help": "Seconds of a request, at most, its wait excepted."})
    max_trees: int = field(default=256, metadata={"help": "Trees that can be fetched: so many of the latest."})

    def __post_init__(self):
        for name in ("answer_tokens", "thought_tokens", "simulations_in_flight", "max_requests", "max_tokens"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}={getattr(self, name)} is out of range: it must be at least 1")
        for name in ("max_queue", "max_trees"):
            if getattr(self, name) < 0:
                raise InvalidInputError(f"{name}={getattr(self, name)} is out of range: it must be at least 0")
        if not self.max_seconds > 0:
            raise InvalidInputError(f"max_seconds={self.max_seconds} is out of range: it must be above 0")
        if not 0 <= self.port < 2**16:
            raise InvalidInputError(f"port={self.port} is out of range: it must be from 0 to 65535")
        if not 0 <= self.temperature <= 2 or not 0 < self.top_p <= 1:
            raise InvalidInputError(
                f"temperature={self.temperature}, top_p={self.top_p}: they must be from 0 to 2, and above 0 up to 1"
            )


async def serve(arguments: ServeArguments, engine_arguments: EngineArguments) -> None:
    """
    Serve until it is stopped.

    Raises:
        InvalidInputError: An argument is wrong, or the port is taken.
    """
    import uvicorn

    from ..serving.app import make_app
    from ..serving.keeping import KeptTrees

    keys = client_keys(arguments.api_keys)
    make_service = _service_maker(arguments, engine_arguments)

    @asynccontextmanager
    async def lifespan(_) -> AsyncIterator[None]:
        yield
        await files.aclose()  # before a signal ends the process

    async with AsyncExitStack() as opened, AsyncExitStack() as files:
        keep = await files.enter_async_context(KeptTrees(Path(arguments.keep))) if arguments.keep else None
        service = make_service(await opened.enter_async_context(open_engines(engine_arguments)), keep)
        config = uvicorn.Config(
            make_app(service, keys, lifespan), log_config=None, access_log=False, lifespan="on",
            timeout_graceful_shutdown=1, timeout_keep_alive=75, server_header=False,
        )  # fmt: skip
        with _listen(arguments.host, arguments.port) as socket:
            host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
            name, url = service.defaults.name, f"http://{host}:{socket.getsockname()[1]}"
            print(f"serving {name}, {name}:samples and {name}:search at {url}/v1", flush=True)
            if not keys and not _is_loopback(arguments.host):
                print("warning: anyone who reaches this address may ask: set TREECOT_API_KEYS", file=sys.stderr)
            await uvicorn.Server(config).serve(sockets=[socket])


def _service_maker(arguments: ServeArguments, engine_arguments: EngineArguments) -> Callable:
    """
    What makes the service of engines; all that can be checked is checked before they are loaded.

    Raises:
        InvalidInputError: An argument is wrong.
    """
    from ..evaluation.judges import load_judge
    from ..evaluation.voting import check_answer_vote, check_value_model
    from ..serving.parameters import Defaults
    from ..serving.service import Limits, Service

    pattern = load_pattern(arguments.pattern)
    load_judge(arguments.search_reward)
    check_answer_vote(arguments.answer_vote)
    check_value_model(arguments.value_model, arguments.search_reward, arguments.answer_vote)
    load_verifier(arguments.verifier)
    config = SearchConfig(
        max_new_tokens=arguments.thought_tokens, simulations_in_flight=arguments.simulations_in_flight,
        child_selection=arguments.child_selection, branching=arguments.branching, stopping=arguments.stopping,
        greedy=arguments.greedy,
    )  # fmt: skip
    value_model = load_value_model(arguments.value_model, engine_arguments.dtype, engine_arguments.trust_remote_code)
    limits = Limits(arguments.max_requests, arguments.max_queue, arguments.max_seconds, arguments.max_trees)
    model = engine_arguments.model
    given = model if engine_arguments.engine == "local" or model not in BUILT_IN else None

    def make(engines: dict[str, Engine], keep) -> Service:
        name = arguments.name or given or engines["generator"].identity.model
        defaults = Defaults(
            name, arguments.temperature, arguments.top_p, arguments.answer_tokens, max_tokens=arguments.max_tokens
        )
        return Service(
            engines["generator"], engines["critic"], pattern, config, defaults, limits, arguments.search_reward,
            arguments.answer_vote, arguments.verifier, keep, value_model,
        )  # fmt: skip

    return make


def client_keys(given: list[str]) -> list[str]:
    """
    The keys of clients, from the option or the variable.

    Raises:
        InvalidInputError: One cannot be sent in a header.
    """
    keys = given or [key for key in os.environ.get("TREECOT_API_KEYS", "").split(",") if key.strip()]
    keys = [key.strip() for key in keys]
    if not all(key.isascii() and key.isprintable() and " " not in key and len(key) >= 8 for key in keys):
        raise InvalidInputError(
            "api_keys: a key must have at least 8 printable ASCII characters and no spaces: choose others"
        )
    return keys


def _listen(host: str, port: int):
    import socket

    # Without its protocol, a socket's connections would wait for acknowledgements between two small writes: 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
        return listener
    except (OSError, OverflowError) as error:
        listener.close()
        raise InvalidInputError(
            f"host={host!r} port={port} cannot be listened on ({error}): choose another --port"
        ) from None


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def main(args: list[str] | None = None) -> None:
    """Serve until it is stopped."""
    arguments, engine_arguments = parse("serve", (ServeArguments, EngineArguments), __doc__, args)
    for module in ("prometheus_client", "starlette", "uvicorn"):
        if find_spec(module) is None:
            fail(f"{module} is not installed: pip install 'hf-treecot[serving]'")
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("hf_treecot.serving").setLevel(logging.INFO)
    run(lambda: asyncio.run(serve(arguments, engine_arguments)))
