"""Whether a chat server or a provider can be used, and what a user can do where it cannot.

This module must not know how thoughts are written.
"""

from ..errors import EngineError, InvalidInputError, TransientEngineError
from .hub_client import CLIENT_ERRORS
from .server import ServerOptions, load_tokenizer, redact, refused
from .server_kinds import Server


def check_provider(provider: str, options: ServerOptions) -> None:
    """
    See that one of Hugging Face's Inference Providers has a model, and that a key is given.

    Raises:
        InvalidInputError: No such provider, no key or one of another kind, or it does not have the model.
        TransientEngineError: The Hub, which knows, cannot be asked.
    """
    # Private, and the same in huggingface_hub 1.33 and 2.4.
    from huggingface_hub.inference._providers import PROVIDERS, get_provider_helper

    if provider not in ("auto", *PROVIDERS) or not (provider == "auto" or "conversational" in PROVIDERS[provider]):
        known = ", ".join(sorted(name for name, tasks in PROVIDERS.items() if "conversational" in tasks))
        raise InvalidInputError(f"provider={provider!r} offers no chat: use auto, or one of {known}")
    if options.model is None:
        raise InvalidInputError(f"provider={provider!r} needs a model: set model to its name on the Hub")
    if options.token is None:
        raise InvalidInputError(
            f"provider={provider!r} wants a key: set TREECOT_SERVER_TOKEN (of the critic: TREECOT_CRITIC_TOKEN) to a "
            "token of Hugging Face (hf_…) or to the provider's own"
        )
    try:
        get_provider_helper(provider, "conversational", options.model).prepare_request(
            inputs=[], parameters={}, headers={}, model=options.model, api_key=options.token
        )
    except CLIENT_ERRORS as error:
        reason = redact(" ".join(str(error).split())[:200], options.token)
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403, 404):
            raise InvalidInputError(
                f"model={options.model!r} is not on the Hub ({reason}): correct its name"
            ) from None
        raise TransientEngineError(f"the Hub cannot be asked which providers have a model ({reason})") from None
    except ValueError as error:
        raise InvalidInputError(
            f"provider={provider!r} cannot be asked for model={options.model!r} "
            f"({redact(str(error), options.token)}): choose another of the two, or another key"
        ) from None


def row_tokenizer(options: ServerOptions, model: str):
    """The tokenizer that rows are measured with: the one that was named, or the model's own."""
    try:
        return load_tokenizer(options.tokenizer or model, options.trust_remote_code, needs_chat_template=False)
    except InvalidInputError:
        if options.tokenizer:
            raise
        raise InvalidInputError(
            f"model={model!r} has no tokenizer on the Hub, and rows are measured in tokens: set tokenizer to that of "
            "the model which will be trained"
        ) from None


def useless(url: str, server: Server, error: EngineError) -> InvalidInputError:
    """What a user can do about a server that refuses even a small question."""
    if refusal := refused(url, error):
        return refusal
    if server.model not in server.listed and (error.status == 404 or "model" in str(error)):
        some = ", ".join(map(repr, server.listed[:5]))
        others = f" (it lists {some}{', …' if len(server.listed) > 5 else ''})" if some else ""
        return InvalidInputError(f"model={server.model!r} is refused ({error}): set model to one that it has{others}")
    return InvalidInputError(f"{error}: it must serve /v1/chat/completions, and take a small question")
