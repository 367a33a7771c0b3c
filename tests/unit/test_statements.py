"""Named statements: what a file must look like, and what one gets."""

from __future__ import annotations

import pytest

from answermesh.store.statements import Statements, parse

FILE = """-- What this file is about.

-- name: get_thing
-- The thing of that id.
SELECT * FROM things WHERE thing_id = $1;

-- name: end_things
-- Ends all things.
UPDATE things
SET ended = true;
"""


def test_a_statement_keeps_its_sentence_and_loses_its_semicolon() -> None:
    assert parse("things", FILE)["get_thing"] == "-- The thing of that id.\nSELECT * FROM things WHERE thing_id = $1"


def test_attributes_give_the_statements_and_an_unknown_one_is_named() -> None:
    sql = Statements("pkg/things.sql", parse("pkg/things.sql", FILE))
    assert sql.end_things.endswith("SET ended = true")
    assert dir(sql) == ["end_things", "get_thing"]
    with pytest.raises(AttributeError, match=r"pkg/things\.sql has no statement 'gone'"):
        _ = sql.gone


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;\n-- name: a\n-- A.\nSELECT 1", "SQL before the first"),
        ("-- name: a\n-- A.\nSELECT 1\n-- name: a\n-- A.\nSELECT 2", "a comes twice"),
        ("-- name: get-thing\n-- A.\nSELECT 1", "'get-thing' is no name"),
        ("-- name: a\nSELECT 1", "a lacks its sentence"),
        ("-- name: a\n--\nSELECT 1", "a lacks its sentence"),
        ("-- name: a\n-- A.\n\n-- More.", "a has no SQL"),
    ],
)
def test_a_file_that_does_not_keep_the_form_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse("file", text)
