"""The filter of ListQueries: `state = NAME`, `create_time >= "T"`, `create_time < "T"`, joined by AND. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from answermesh.errors import Failure, Field, Reason
from answermesh.v1.query_pb2 import Query

_TERM = re.compile(r"""\s*(?P<field>\w+)\s*(?P<operator><=|>=|=|<|>)\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))\s*""")


@dataclass(frozen=True, slots=True)
class QueryFilter:
    """Which queries are listed; None means any."""

    state: int | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


def parse(text: str) -> QueryFilter:
    """Read a filter.

    Raises Failure(INVALID_FILTER) that quotes the term and says what is allowed.
    """
    result = QueryFilter()
    if not text.strip():
        return result
    for part in re.split(r"\s+AND\s+", text.strip()):
        term = _TERM.fullmatch(part)
        if term is None:
            raise _invalid(part, 'is no term; write `state = RUNNING` or `create_time >= "2026-01-31T00:00:00Z"`.')
        value = term["quoted"] if term["quoted"] is not None else term["bare"]
        match term["field"], term["operator"]:
            case "state", "=":
                result = replace(result, state=_state(part, value))
            case "create_time", ">=":
                result = replace(result, created_from=_time(part, value))
            case "create_time", "<":
                result = replace(result, created_before=_time(part, value))
            case _:
                raise _invalid(part, "is not supported; use `state =`, `create_time >=` or `create_time <`.")
    return result


def _state(part: str, value: str) -> int:
    name = value if value.startswith("STATE_") else f"STATE_{value}"
    if name == "STATE_UNSPECIFIED" or name not in Query.State.keys():  # noqa: SIM118 - an enum wrapper, no mapping
        names = ", ".join(n.removeprefix("STATE_") for n in Query.State.keys()[1:])
        raise _invalid(part, f"names no state; states are {names}.")
    return Query.State.Value(name)


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
