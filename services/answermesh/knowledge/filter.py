"""The filter of SearchPassages: which documents are searched, by what is known of them. No I/O.

labels.team = "core" AND publish_time >= "2026-01-01T00:00:00Z" AND media_type = "text/markdown" AND uri : "docs/"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime

from answermesh.errors import Failure, Field, Reason

MAX_CHARS = 2000
_TERM = re.compile(
    r"""\s*(?P<field>\w+(?:\.[\w-]{1,63})?)\s*(?P<operator>>=|=|<|:)\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))\s*"""
)
_ALLOWED = (
    "use `labels.KEY =`, `media_type =`, `uri =`, `uri :` (begins with), `publish_time >=` or `<`, "
    "`update_time >=` or `<`."
)


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents; None and {} mean any."""

    labels: dict[str, str] = field(default_factory=dict)
    media_type: str | None = None
    uri: str | None = None
    uri_prefix: str | None = None
    published_from: datetime | None = None
    published_before: datetime | None = None
    updated_from: datetime | None = None
    updated_before: datetime | None = None


def parse(text: str) -> DocumentFilter:
    """Read a filter. Raises Failure(INVALID_FILTER) that quotes the term and says what is allowed."""
    if len(text) > MAX_CHARS:
        raise _invalid(text[:40] + "…", f"is part of {len(text)} characters; up to {MAX_CHARS} are allowed.")
    result = DocumentFilter()
    for part in re.split(r"\s+AND\s+", text.strip()) if text.strip() else ():
        term = _TERM.fullmatch(part)
        if term is None:
            raise _invalid(part, f"is no term; {_ALLOWED}")
        value = term["quoted"] if term["quoted"] is not None else term["bare"]
        result = _with(result, part, term["field"], term["operator"], value)
    return result


def _with(result: DocumentFilter, part: str, name: str, operator: str, value: str) -> DocumentFilter:
    match name.partition("."), operator:
        case ("labels", ".", key), "=":
            return replace(result, labels={**result.labels, key: value})
        case ("media_type", "", ""), "=":
            return replace(result, media_type=value)
        case ("uri", "", ""), "=":
            return replace(result, uri=value)
        case ("uri", "", ""), ":":
            return replace(result, uri_prefix=value)
        case ("publish_time", "", ""), ">=":
            return replace(result, published_from=_time(part, value))
        case ("publish_time", "", ""), "<":
            return replace(result, published_before=_time(part, value))
        case ("update_time", "", ""), ">=":
            return replace(result, updated_from=_time(part, value))
        case ("update_time", "", ""), "<":
            return replace(result, updated_before=_time(part, value))
    raise _invalid(part, f"is not supported; {_ALLOWED}")


def _time(part: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _invalid(part, "holds no RFC 3339 time with an offset, such as 2026-01-31T00:00:00Z.")
    return moment


def _invalid(part: str, what: str) -> Failure:
    message = f"filter: {part!r} {what}"
    return Failure(Reason.INVALID_FILTER, message, fields=[Field("filter", f"{part!r} {what}")])
