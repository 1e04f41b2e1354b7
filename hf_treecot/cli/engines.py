"""Engines by their arguments: a model in this process, or servers. What all commands that generate have in common."""

import asyncio
import os
import shlex
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from ..engines.cost import Prices
from ..engines.engine import Engine
from ..engines.pool import EnginePool, PoolConfig
from ..engines.server import ServerOptions, check_url
from ..engines.server_process import PROGRAMS, free_port, run_server, search_options, server_command
from ..errors import InvalidInputError
from ..starter.built_in import BUILT_IN, STARTER, model_path


ENGINES = ("local", "tgi", "openai", "chat")
THOUGHTS = ("auto", "continued", "in_words")
TOKEN_VARIABLES = {"generator": "TREECOT_SERVER_TOKEN", "critic": "TREECOT_CRITIC_TOKEN"}


@dataclass
class EngineArguments:
    """Who writes: the generator, and the critic if it is another."""

    model: str = field(
        default=STARTER,
        metadata={
            "help": "Hub name or directory of the model that writes; starter and hasty: built-in ones. With "
            "servers: the model that they must serve; by default whatever they do."
        },
    )
    critic_model: str | None = field(default=None, metadata={"help": "The model that criticises. Default: the same."})
    revision: str | None = field(
        default=None, metadata={"help": "Revision of the model. With servers: recorded where they do not tell it."}
    )
    critic_revision: str | None = field(default=None, metadata={"help": "Revision of the critic's model."})
    dtype: str | None = field(default=None, metadata={"help": "float32, bfloat16, float64 (exact in any batch)."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code that comes with the model."})
    max_batch_size: int = field(default=64, metadata={"help": "Requests that the model works on at the same time."})
    replicas: int | None = field(
        default=None,
        metadata={
            "help": "Processes with a copy of a local model each. Default: one a core for a small model and a long "
            "build, else the model is in this process."
        },
    )
    engine: str = field(
        default="local",
        metadata={
            "help": "local: in this process; tgi: text-generation-inference servers; openai: servers of "
            "/v1/completions (vLLM, SGLang, llama.cpp); chat: servers of /v1/chat/completions, and providers."
        },
    )
    serve: list[str] = field(
        default_factory=list,
        metadata={
            "help": "vllm, tgi or llama.cpp, and a model: start such a server of it, and stop it at the end of the "
            "build. llama.cpp takes a .gguf file or a Hub repository with one, and a tokenizer."
        },
    )
    serve_options: str = field(
        default="", metadata={"help": "Options of that server besides, in one word: '--tensor-parallel-size 2'."}
    )
    provider: str | None = field(
        default=None,
        metadata={
            "help": "Of Hugging Face's Inference Providers, with --engine chat: together, groq, openai, …; auto: "
            "whichever has the model."
        },
    )
    critic_provider: str | None = field(default=None, metadata={"help": "The critic's, if it is another."})
    thoughts: str = field(
        default="auto",
        metadata={
            "help": "How a chat server writes one. continued: it goes on with its answer; in_words: it is asked for "
            "each; auto: found out at the start."
        },
    )
    servers: list[str] = field(
        default_factory=list, metadata={"help": "Base URLs of the servers, http://host:port, all of one model."}
    )
    critic_engine: str | None = field(default=None, metadata={"help": "The critic's, if not that of the generator."})
    critic_servers: list[str] = field(
        default_factory=list, metadata={"help": "Base URLs of the critic's servers. Default: the same servers."}
    )
    tokenizer: str | None = field(
        default=None, metadata={"help": "Hub name or directory, if it is not that of the model that servers report."}
    )
    critic_tokenizer: str | None = field(default=None, metadata={"help": "The critic's, likewise."})
    server_token: str | None = field(
        default=None,
        repr=False,
        metadata={"help": "Token that the servers want. Better set TREECOT_SERVER_TOKEN, which others cannot see."},
    )
    critic_token: str | None = field(
        default=None,
        repr=False,
        metadata={"help": "Token that the critic's servers want. Better set TREECOT_CRITIC_TOKEN."},
    )
    max_concurrent_requests: int | None = field(
        default=None,
        metadata={"help": "For each server. Default: what it reports; else 64, or fewer where that is known."},
    )
    prompt_price: float | None = field(
        default=None, metadata={"help": "What a million tokens cost that the model reads, in any currency."}
    )
    completion_price: float | None = field(
        default=None, metadata={"help": "What a million tokens cost that it writes; those of its reasoning are some."}
    )
    critic_prompt_price: float | None = field(default=None, metadata={"help": "The critic's, if it is another."})
    critic_completion_price: float | None = field(default=None, metadata={"help": "Likewise."})
    request_timeout: float = field(default=600.0, metadata={"help": "Seconds for one request, its wait excepted."})
    max_attempts: int = field(default=8, metadata={"help": "How often a request is asked before its problem fails."})
    start_timeout: float = field(
        default=600.0,
        metadata={"help": "Seconds to wait at the start for a server, which may have to load a large model."},
    )
    max_outage: float = field(
        default=1800.0, metadata={"help": "Seconds to wait when all servers are down, before the build stops."}
    )


def server_arguments(name: str) -> EngineArguments | None:
    """
    The arguments of a model that is named by its server; None if a name is not of that form.

    Args:
        name (`str`): `tgi+http://host:port`, `openai+…` or `chat+…`, with `#` and a tokenizer at the end if it
            is not that of the model that the server reports.

    Raises:
        InvalidInputError: The URL is none, or holds credentials.
    """
    kind, plus, address = name.partition("+")
    if not plus or kind not in ENGINES[1:]:
        return None
    url, _, tokenizer = address.partition("#")
    return EngineArguments(engine=kind, servers=[check_url(url)], tokenizer=tokenizer or None)


@asynccontextmanager
async def open_engines(
    arguments: EngineArguments, temperature: float = 0.7, top_p: float = 0.9, long: bool = False
) -> AsyncIterator[dict[str, Engine]]:
    """
    One engine per role, closed at the end of the block. Each has a `tokenizer`.

    Args:
        arguments ([`EngineArguments`]): Who writes.
        temperature, top_p (`float`): The sampling to come, with which servers are tried.
        long (`bool`): There is so much to write that processes are worth their start.

    Raises:
        InvalidInputError: An argument is wrong, or a model or server cannot be used.
    """
    if arguments.serve:
        raise InvalidInputError("serve is for builds: start a server yourself, and set engine and servers")
    _check(arguments)
    async with AsyncExitStack() as stack:
        if arguments.engine == "local":
            generator = await _open_local(stack, arguments, arguments.model, arguments.revision, long)
        else:
            generator = await _connect(arguments, "generator", temperature, top_p)
            stack.push_async_callback(generator.close)
        if _where(arguments, "critic"):
            critic = await _connect(arguments, "critic", temperature, top_p)
            stack.push_async_callback(critic.close)
        elif arguments.engine == "local" and _critic(arguments) != (arguments.model, arguments.revision):
            critic = await _open_local(stack, arguments, *_critic(arguments), long)
        else:
            critic = generator
        yield {"generator": generator, "critic": critic}


@asynccontextmanager
async def served(arguments: EngineArguments, output_dir: Path) -> AsyncIterator[EngineArguments]:
    """
    The arguments of a server that lives as long as the block, if one is to be started; else as they are.

    Args:
        arguments ([`EngineArguments`]): Who writes.
        output_dir (`Path`): Of the run; what the server writes is beside it.

    Raises:
        InvalidInputError: The server is unknown, not installed, or does not start.
    """
    if not arguments.serve:
        yield arguments
        return
    if len(arguments.serve) != 2:
        raise InvalidInputError(f"serve={' '.join(arguments.serve)!r}: write it as --serve vllm MODEL")
    if arguments.engine != "local" or arguments.servers or arguments.provider:
        raise InvalidInputError("serve starts a server of its own: leave out engine, servers and provider")
    kind, model = arguments.serve[0], model_path(arguments.serve[1])
    most, port = arguments.max_concurrent_requests, free_port()
    options = [*search_options(kind, most), *shlex.split(arguments.serve_options)]
    if arguments.revision and kind != "llama.cpp":
        options += ["--revision", arguments.revision]
    command = server_command(kind, model, port, options)
    log = output_dir.with_name(f"{output_dir.name}.server.log")
    async with run_server(command, port, log, arguments.start_timeout) as url:
        yield replace(arguments, serve=[], engine=PROGRAMS[kind].engine, servers=[url], replicas=None)


def room_for_requests(engines: dict[str, Engine]) -> int | None:
    """How many requests the servers take at the same time; None without servers."""
    pools = {id(engine): engine for engine in engines.values() if isinstance(engine, EnginePool)}
    return sum(pool.max_concurrent_requests for pool in pools.values()) or None


def _check(arguments: EngineArguments) -> None:
    for name in ("engine", "critic_engine"):
        if (value := getattr(arguments, name)) not in (*ENGINES, None):
            raise InvalidInputError(f"{name}={value!r} is unknown: use one of {', '.join(ENGINES)}")
    if arguments.thoughts not in THOUGHTS:
        raise InvalidInputError(f"thoughts={arguments.thoughts!r} is unknown: use one of {', '.join(THOUGHTS)}")
    if any(prices_of(arguments, role) for role in TOKEN_VARIABLES) and arguments.engine == "local":
        raise InvalidInputError("prices are given but engine=local: leave them out, or set price_per_hour")
    servers, critic_servers = _where(arguments, "generator"), _where(arguments, "critic")
    critic_engine = arguments.critic_engine or arguments.engine
    for name, provider, engine in (
        ("provider", arguments.provider, arguments.engine),
        ("critic_provider", arguments.critic_provider, critic_engine),
    ):
        if provider and engine != "chat":
            raise InvalidInputError(f"{name}={provider!r} is asked by chat: set {name[:-8]}engine to chat")
    if (arguments.servers and arguments.provider) or (arguments.critic_servers and arguments.critic_provider):
        raise InvalidInputError("servers and a provider are given for one role: leave one of them out")
    if arguments.engine == "local" and servers:
        raise InvalidInputError("servers are given but engine=local: set engine to tgi, openai or chat")
    if arguments.engine != "local" and not servers:
        or_provider = " or a provider: set servers or provider" if arguments.engine == "chat" else ": set servers"
        raise InvalidInputError(f"engine={arguments.engine!r} needs the URLs of its servers{or_provider}")
    if critic_servers and critic_engine == "local":
        raise InvalidInputError(
            "critic_servers are given without their engine: set critic_engine to tgi, openai or chat"
        )
    if not critic_servers and critic_engine != arguments.engine:
        raise InvalidInputError(f"critic_engine={critic_engine!r} needs the URLs of its servers: set critic_servers")
    if arguments.engine != "local" and arguments.critic_model and not critic_servers:
        raise InvalidInputError(
            f"critic_model={arguments.critic_model!r} is on no server: set critic_servers to those that serve it"
        )
    if arguments.replicas is not None and (arguments.replicas < 1 or arguments.engine != "local"):
        raise InvalidInputError(
            f"replicas={arguments.replicas} is out of range: it must be at least 1, and is for a local model alone; "
            "for servers give several URLs"
        )
    if arguments.max_concurrent_requests is not None and arguments.max_concurrent_requests < 1:
        raise InvalidInputError(
            f"max_concurrent_requests={arguments.max_concurrent_requests} is out of range: it must be at least 1"
        )


def _where(arguments: EngineArguments, role: str) -> list[str]:
    """The URLs of a role's servers, or the name of its provider. A critic without any is the generator."""
    if role == "generator":
        return [arguments.provider] if arguments.provider else [check_url(url) for url in arguments.servers]
    provider = arguments.critic_provider or (arguments.provider if arguments.critic_model else None)
    if provider and not arguments.critic_servers:
        return [provider]
    return [check_url(url) for url in arguments.critic_servers]


def _critic(arguments: EngineArguments) -> tuple[str, str | None]:
    """Model and revision of a critic in this process."""
    model = arguments.critic_model or arguments.model
    return model, arguments.critic_revision or (arguments.revision if model == arguments.model else None)


async def _open_local(
    stack: AsyncExitStack, arguments: EngineArguments, name: str, revision: str | None, long: bool
) -> Engine:
    """A model in this process, or in several of its own."""
    options = {"dtype": arguments.dtype, "max_batch_size": arguments.max_batch_size}
    if name in BUILT_IN:
        options |= {"name_or_path": str(model_path(name)), "name": BUILT_IN[name]}
    else:
        options |= {"name_or_path": name, "revision": revision, "trust_remote_code": arguments.trust_remote_code}
    if arguments.replicas is not None or long:
        from ..engines.local_replicas import open_replicas

        replicas = await open_replicas(options, arguments.replicas)
        stack.push_async_callback(replicas.close)
        return replicas
    from ..engines.local import LocalEngine

    engine = LocalEngine.from_pretrained(**options)
    stack.push_async_callback(asyncio.to_thread, engine.close)
    return engine


async def _connect(arguments: EngineArguments, role: str, temperature: float, top_p: float) -> EnginePool:
    critic = role == "critic"
    kind = (arguments.critic_engine if critic else None) or arguments.engine
    if kind == "tgi":
        from ..engines.tgi import TGIEngine as ServerEngine
    elif kind == "chat":
        from ..engines.chat import ChatEngine as ServerEngine
    else:
        from ..engines.openai import OpenAIEngine as ServerEngine
    model = arguments.critic_model if critic else arguments.model
    options = ServerOptions(
        token=_token(arguments, role),
        model=None if model in BUILT_IN else model,
        tokenizer=_tokenizer_name(arguments.critic_tokenizer if critic else arguments.tokenizer),
        trust_remote_code=arguments.trust_remote_code,
        max_concurrent_requests=arguments.max_concurrent_requests,
        revision=arguments.critic_revision if critic else arguments.revision,
        temperature=temperature,
        top_p=top_p,
        continues={"auto": None, "continued": True, "in_words": False}[arguments.thoughts],
    )
    urls = _where(arguments, role)
    _check_token(options.token, urls, role)
    config = PoolConfig(
        request_timeout=arguments.request_timeout,
        max_attempts=arguments.max_attempts,
        start_timeout=arguments.start_timeout,
        max_outage=arguments.max_outage,
    )
    connect = partial(_connect_server, ServerEngine, options)
    return await EnginePool.connect(urls, connect, config, prices_of(arguments, role))


def prices_of(arguments: EngineArguments, role: str) -> Prices | None:
    """
    What a role's tokens cost; None if nothing is said.

    Raises:
        InvalidInputError: Only one of two prices is given, or one is below 0.
    """
    prices = arguments.prompt_price, arguments.completion_price
    if role == "critic" and (arguments.critic_prompt_price, arguments.critic_completion_price) != (None, None):
        prices = arguments.critic_prompt_price, arguments.critic_completion_price
    if prices == (None, None):
        return None
    if None in prices:
        raise InvalidInputError(f"{role}: one of two prices is missing: set both, one may be 0")
    return Prices(*prices)


def _token(arguments: EngineArguments, role: str) -> str | None:
    """A role's token: from its option, or from the variable that is named for it."""
    token = arguments.critic_token if role == "critic" else arguments.server_token
    token = (os.environ.get(TOKEN_VARIABLES[role]) if token is None else token) or None
    if token is None and role == "critic" and _where(arguments, role) == [arguments.provider]:
        return _token(arguments, "generator")  # another model of the same provider
    return token


async def _connect_server(engine_class, options: ServerOptions, url: str, tokenizer):
    return await engine_class.connect(url, options, tokenizer)


def _check_token(token: str | None, urls: list[str], role: str) -> None:
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise InvalidInputError(f"{TOKEN_VARIABLES[role]} holds characters that no token has: set it anew")
    if token is not None and any(url.startswith("http:") and not _is_local(url) for url in urls):
        warnings.warn("a token is sent over plain http: anyone between can read it; use https", stacklevel=2)


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _tokenizer_name(name: str | None) -> str | None:
    return None if name is None else model_path(name)
