"""How long a server asks to be left alone, from the headers of its answer."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


LONGEST = 86_400.0  # seconds; more is not believed
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_to_wait(headers: Mapping[str, str]) -> float:
    """
    Seconds until a server takes another request; 0 if it takes one now, or does not say.

    Args:
        headers (`Mapping[str, str]`): Of an answer: `Retry-After`, in seconds or as a date, and the `x-ratelimit-*` of
            OpenAI and others, which say of requests or tokens how many are left and when there will be more.
    """
    told = [_seconds(headers.get("retry-after", ""))]
    if re.fullmatch(r"\d+(\.\d+)?", headers.get("retry-after-ms", "")):
        told.append(float(headers["retry-after-ms"]) / 1000)
    for prefix in ("x-ratelimit-", "ratelimit-"):
        for suffix in ("", "-requests", "-tokens"):
            if re.fullmatch(r"0(\.0*)?", headers.get(f"{prefix}remaining{suffix}", "").strip()):
                told.append(_seconds(headers.get(f"{prefix}reset{suffix}", "")))
    return min(max(told), LONGEST)


def _seconds(text: str) -> float:
    """Of `12`, `6m0s`, `20ms`, a moment in seconds or milliseconds since 1970, or an HTTP date; 0 of anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        value = float(text)
        if value > 1e12:  # milliseconds since 1970
            value /= 1000
        return value if value < 1e9 else max(0.0, value - time.time())
    if re.fullmatch(r"(\d+(\.\d+)?(ms|[smhd]))+", text):
        return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
