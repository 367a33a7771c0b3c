"""The filter of SearchPassages, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from answermesh.errors import Failure, Reason
from answermesh.knowledge.filter import DocumentFilter, parse


def test_terms_are_joined() -> None:
    text = (
        'labels.team = "core search" AND labels.stage=beta AND uri : "docs/" AND publish_time >= "2026-01-31T00:00:00Z"'
    )
    assert parse(text) == DocumentFilter(
        labels={"team": "core search", "stage": "beta"},
        uri_prefix="docs/",
        published_from=datetime(2026, 1, 31, tzinfo=UTC),
    )
    assert parse("  ") == DocumentFilter()
    assert parse('update_time < "2026-01-31T01:00:00+01:00"').updated_before == datetime(2026, 1, 31, tzinfo=UTC)
    assert parse("media_type = text/markdown").media_type == "text/markdown"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("team = core", "'team = core' is not supported"),
        ("labels = core", "is not supported"),
        ("labels.team > core", "is no term"),
        ("uri >= a", "is not supported"),
        ("publish_time >= yesterday", "holds no RFC 3339 time"),
        ("publish_time >= 2026-01-31T00:00:00", "holds no RFC 3339 time"),
        ("publish_time = 2026-01-31T00:00:00Z", "is not supported"),
        ("media_type = a AND", "is no term"),
        ("x" * 2001, "up to 2000 are allowed"),
    ],
)
def test_other_terms_are_refused_and_quoted(text: str, said: str) -> None:
    with pytest.raises(Failure) as failed:
        parse(text)
    assert failed.value.reason is Reason.INVALID_FILTER
    assert said in failed.value.message
