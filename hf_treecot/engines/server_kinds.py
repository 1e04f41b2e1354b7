"""Servers of OpenAI's protocol by their makers: which one it is, and what it says of itself.

This module knows the pages on which servers describe themselves. It must not know how a thought is asked for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from huggingface_hub.utils import httpx

from ..errors import EngineError, InvalidInputError, TransientEngineError
from .server import ask_json, check_model, refused


LLAMA_CPP, SGLANG, TRANSFORMERS, OLLAMA, LM_STUDIO = "llamacpp", "sglang", "transformers", "ollama", "lmstudio"
NAMED = ("vllm", SGLANG, LLAMA_CPP, "hf_treecot")  # those that name themselves in `/v1/models`; the last is ours
# Requests at the same time where neither user nor server says. Servers that batch let the others wait.
DEFAULT_SLOTS = {
    TRANSFORMERS: 1,  # one after the other, and a seed holds for whichever request runs next
    OLLAMA: 4,
    LM_STUDIO: 4,
}
MANY_SLOTS = 64
# Whose names of models say nothing of the tokenizer.
OWN_NAMES = {
    LLAMA_CPP: "llama.cpp, which names a model by its file",
    OLLAMA: "Ollama, which has names of its own for models",
    LM_STUDIO: "LM Studio, which has names of its own for models",
}


@dataclass(frozen=True)
class Server:
    """
    Which server it is.

    Args:
        kind (`str`): As in `OWN_NAMES`, or as it calls itself in `/v1/models`; may be empty.
        model (`str`): The model that is to be asked for.
        entry (`Mapping[str, Any]`): What `/v1/models` says of it.
        listed (`tuple[str]`): All models that `/v1/models` names.
    """

    kind: str
    model: str
    entry: Mapping[str, Any] = field(default_factory=dict)
    listed: tuple[str, ...] = ()

    @property
    def route(self) -> str:
        """Where raw text is completed."""
        # Ollama puts the prompts of /v1/completions into the model's chat template; they have been in it before.
        return "/api/generate" if self.kind == OLLAMA else "/v1/completions"


@dataclass(frozen=True)
class Description:
    """
    What a server says of itself.

    Args:
        identity (`Mapping[str, str]`): Revision, precision, quantisation and version of an [`EngineIdentity`].
        slots (`int`, *optional*): Requests at the same time.
    """

    identity: Mapping[str, str]
    slots: int | None = None


def public_name(model: str) -> str:
    """The name of a model without its place on a disk, which is nobody's business."""
    if re.match(r"[A-Za-z]:[\\/]|\\\\", model):
        return PureWindowsPath(model).name
    return PurePosixPath(model).name if model.startswith(("/", "./", "../", "~")) else model


async def find_server(
    client: httpx.AsyncClient, url: str, token: str | None, wanted: str | None, must_list: bool = True
) -> Server:
    """
    Which server it is, and which of its models is to be asked.

    Args:
        client (`~httpx.AsyncClient`): Asks it.
        url (`str`): Its base URL, without `/v1`.
        token (`str`, *optional*): What it wants.
        wanted (`str`, *optional*): The model that the user wants. One that is not listed is asked for all the same,
            as many servers load models on demand; llama.cpp's would answer with another.
        must_list (`bool`): A server without `/v1/models` is refused; else it is not where a model is wanted.

    Raises:
        InvalidInputError: It is not such a server, wants a token, or it is not clear which model is wanted.
        TransientEngineError: It cannot be reached, or does not answer yet.
    """
    try:
        models = await _models(client, url, token, wanted)
    except InvalidInputError:
        if must_list or wanted is None:
            raise
        return Server("", wanted)
    owners = {str(entry.get("owned_by") or "") for entry in models.values()}
    kind = owners.pop() if len(owners) == 1 else ""
    if kind not in NAMED:
        kind = await _kind(client, url, token) or kind
    names = [name for entry in models.values() for name in [entry["id"], *(entry.get("aliases") or ())]]
    if wanted is None or (kind == LLAMA_CPP and wanted not in names):
        # Adapters of vLLM, and our ways of decoding, are listed beside the model that they come from.
        own = [name for name, entry in models.items() if not entry.get("parent")]
        wanted = check_model(url, wanted, own if wanted is None and len(own) == 1 else list(models))
    return Server(kind, wanted, models.get(wanted, {}), tuple(models))


async def describe_server(client: httpx.AsyncClient, url: str, token: str | None, server: Server) -> Description:
    """Revision, precision, quantisation, version and slots, as far as a server tells them."""
    name, slots = server.kind, None
    if server.kind == SGLANG:
        info = await _tell(client, f"{url}/get_server_info", token)
        version = info.get("version")
        found = {name: info.get(name) for name in ("revision", "dtype", "quantization")}
    elif server.kind == LLAMA_CPP:
        info = await _tell(client, f"{url}/props", token)
        version, slots = info.get("build_info"), info.get("total_slots")
        found = {"quantization": info.get("model_ftype") or public_name(f"/{info.get('model_path') or ''}")}
    elif server.kind == OLLAMA:
        version = (await _tell(client, f"{url}/api/version", token)).get("version")
        shown = await _tell(client, f"{url}/api/show", token, {"model": server.model})
        found = {"quantization": (shown.get("details") or {}).get("quantization_level")}
        tags = await _tell(client, f"{url}/api/tags", token)
        found["revision"] = _of(tags.get("models"), "name", server.model).get("digest")
    elif server.kind == LM_STUDIO:
        version, found = None, {"quantization": (await _lm_studio(client, url, token, server)).get("quantization")}
    elif server.kind == TRANSFORMERS:
        name, version, found = "transformers serve", None, {}
    else:
        version, found = (await _tell(client, f"{url}/version", token)).get("version"), {}
    found["version"] = " ".join(str(part) for part in (name, version) if part)
    return Description({name: str(value) for name, value in found.items() if value}, _number(slots))


async def context_length(client: httpx.AsyncClient, url: str, token: str | None, server: Server) -> int | None:
    """Tokens of a prompt and what follows it; asked after a first request, since some servers load models by then."""
    if server.kind == OLLAMA:
        loaded = (await _tell(client, f"{url}/api/ps", token)).get("models")
        return _number(_of(loaded, "name", server.model).get("context_length"))
    if server.kind == LM_STUDIO:
        entry = await _lm_studio(client, url, token, server)
        return _number(entry.get("loaded_context_length")) or _number(entry.get("max_context_length"))
    meta = server.entry.get("meta")
    told = meta.get("n_ctx") if isinstance(meta, dict) else None
    return _number(server.entry.get("max_model_len")) or _number(told)


async def _kind(client: httpx.AsyncClient, url: str, token: str | None) -> str | None:
    """Servers that do not name themselves in `/v1/models`, by pages that only they have."""
    if isinstance((await _tell(client, f"{url}/api/ps", token)).get("models"), list):
        return OLLAMA
    listed = (await _tell(client, f"{url}/api/v0/models", token)).get("data")
    if isinstance(listed, list) and any("state" in entry for entry in listed if isinstance(entry, dict)):
        return LM_STUDIO
    paths = (await _tell(client, f"{url}/openapi.json", token)).get("paths")
    return TRANSFORMERS if isinstance(paths, dict) and {"/load_model", "/v1/completions"} <= paths.keys() else None


async def _lm_studio(client: httpx.AsyncClient, url: str, token: str | None, server: Server) -> dict[str, Any]:
    return _of((await _tell(client, f"{url}/api/v0/models", token)).get("data"), "id", server.model)


def _of(entries: Any, key: str, name: str) -> dict[str, Any]:
    """The entry of a model in a list; Ollama lists `name` as `name:latest`."""
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return next((entry for entry in entries if entry.get(key) in (name, f"{name}:latest")), {})


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


async def _tell(client: httpx.AsyncClient, url: str, token: str | None, body: Any = None) -> dict[str, Any]:
    """What a server says of itself; nothing if it has no such page. One that fails is asked again later."""
    try:
        info = await ask_json(client, "GET" if body is None else "POST", url, token, body)
    except TransientEngineError as error:
        if error.status in (None, 408, 429, 502, 503, 504):
            raise
        return {}
    except EngineError:
        return {}
    return info if isinstance(info, dict) else {}


async def _models(client: httpx.AsyncClient, url: str, token: str | None, wanted: str | None) -> dict[str, dict]:
    try:
        answer = await ask_json(client, "GET", f"{url}/v1/models", token)
        return {model["id"]: model for model in answer["data"] or ()}
    except TransientEngineError as error:
        if error.status == 500 and wanted is not None:  # transformers serve lists a cache, and may have none
            return {}
        if error.status is None or error.status >= 400:  # an answer that is not JSON is that of another server
            raise
    except EngineError as error:
        if refusal := refused(url, error):
            raise refusal from None
    except (KeyError, TypeError):
        pass  # refused below
    raise InvalidInputError(
        f"server {url} does not speak OpenAI's protocol (there is no /v1/models): "
        "give its base URL, or set engine to tgi for text-generation-inference"
    )
