"""The filter of ListQueries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.records.filter import QueryFilter, parse
from answermesh.v1.query_pb2 import Query


def test_no_filter_lists_all() -> None:
    assert parse("  ") == QueryFilter()


def test_terms_are_joined_by_and() -> None:
    wanted = parse(
        'state = RUNNING AND create_time >= "2026-01-31T00:00:00Z" AND create_time < "2026-02-01T00:00:00+00:00"'
    )

    assert wanted == QueryFilter(
        Query.STATE_RUNNING, datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("state = BUSY", "names no state; states are QUEUED"),
        ("state != RUNNING", "is no term"),
        ("question = x", "is not supported"),
        ("create_time > 2026", "is not supported"),
        ('create_time >= "yesterday"', "no RFC 3339 time"),
        ('create_time >= "2026-01-31T00:00:00"', "no RFC 3339 time"),
        ("state = RUNNING OR state = FAILED", "is no term"),
        ("AND", "is no term"),
    ],
)
def test_a_bad_filter_is_refused_with_the_term_at_fault(text: str, says: str) -> None:
    with pytest.raises(Failure, match=says) as caught:
        parse(text)

    assert caught.value.reason is Reason.INVALID_FILTER
    assert [field.path for field in caught.value.fields] == ["filter"]
