"""The values of a request's parameters: read, or refused with what was expected, as OpenAI says it."""

from collections.abc import Mapping
from typing import Any

from .refusals import invalid


MAX_STOPS = 4
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read_messages(messages: Any) -> tuple[dict[str, str], ...]:
    """
    A conversation: a system prompt or none, then turns of which the user has the last.

    Raises:
        RefusalError: It is none, or holds something else than text.
    """
    if messages is None:
        raise invalid("messages", "Missing required parameter: 'messages'.", "missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "Invalid 'messages': expected an array that is not empty.", "invalid_type")
    read = tuple(_message(message, f"messages.[{i}]") for i, message in enumerate(messages))
    if read[-1]["role"] != "user":
        raise invalid("messages", "Invalid 'messages': the last one must be the user's.")
    if any(message["role"] == "system" for message in read[1:]):
        raise invalid("messages", "Invalid 'messages': only the first may be the system's.")
    return read


def _message(message: Any, where: str) -> dict[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    if role in ("tool", "function") or (isinstance(message, dict) and message.get("tool_calls")):
        raise invalid(f"{where}.role", f"Invalid '{where}': tools are not supported with this model.")
    if not isinstance(role, str) or role not in ROLES:
        raise invalid(f"{where}.role", f"Invalid '{where}.role': expected one of {', '.join(ROLES)}.")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part(part, f"{where}.content.[{i}]") for i, part in enumerate(content))
    if not isinstance(content, str):
        raise invalid(f"{where}.content", f"Invalid type for '{where}.content': expected a string.", "invalid_type")
    if role == "user" and not content.strip():
        raise invalid(f"{where}.content", f"Invalid '{where}.content': it is empty.", "empty_string")
    return {"role": ROLES[role], "content": content}


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != "text" or not isinstance(part.get("text"), str):
        known = kind if kind in ("image_url", "input_audio", "file", "refusal") else "this kind"
        raise invalid(f"{where}.type", f"Invalid content type: {known} is not supported with this model, text is.")
    return part["text"]


def read_number(
    body: Mapping[str, Any], name: str, default: float | None, least: float, most: float, whole: bool = False
) -> Any:
    """
    A number within bounds; the default if it is not given.

    Raises:
        RefusalError: It is none, or out of range.
    """
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        kind = "an integer" if whole else "a number"
        raise invalid(name, f"Invalid type for '{name}': expected {kind}.", "invalid_type")
    what = "integer" if whole else "decimal"
    if not value >= least:
        raise invalid(
            name, f"Invalid '{name}': {what} below minimum value. Expected a value >= {least}.",
            f"{what}_below_min_value",
        )  # fmt: skip
    if value > most:
        raise invalid(
            name, f"Invalid '{name}': {what} above maximum value. Expected a value <= {most}.",
            f"{what}_above_max_value",
        )  # fmt: skip
    return value


def read_stop(stop: Any) -> tuple[str, ...]:
    """
    Stop strings: none, one, or a few.

    Raises:
        RefusalError: Something else.
    """
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(item, str) and item for item in stops):
        raise invalid("stop", "Invalid type for 'stop': expected a string or an array of strings.", "invalid_type")
    if len(stops) > MAX_STOPS:
        raise invalid(
            "stop", f"Invalid 'stop': array too long. Expected at most {MAX_STOPS}.", "array_above_max_length"
        )
    return tuple(stops)
