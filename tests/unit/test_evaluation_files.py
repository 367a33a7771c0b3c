"""What is measured of files: spans of passages, and what reading keeps of a file's structure."""

from __future__ import annotations

import pytest

from answermesh.evaluation.spans import measures
from answermesh.evaluation.suites.ingest import kept


def test_spans_are_measured_by_characters_and_what_is_read_twice_costs_twice() -> None:
    assert measures([("a", 0, 10), ("b", 0, 10)], [("a", 5, 15)]) == {
        "recall": 0.5,
        "precision": 0.25,
        "IoU": pytest.approx(5 / 25),
    }
    assert measures([("a", 0, 10), ("a", 0, 10)], [("a", 0, 10)])["precision"] == 0.5
    assert measures([], [("a", 0, 1)]) == {"recall": 0.0, "precision": 0.0, "IoU": 0.0}
    assert measures([("a", 0, 1)], []) == {}


def test_what_a_text_has_kept_of_its_markdown_is_counted() -> None:
    prose = "---\ntitle: x\n---\n# One\n\n## Two *b*\n\nSee [here](http://x) and [there](y).\n\n"
    source = prose + "```sh\n# not a heading\nrun\n```\n"
    assert kept(source, "One Two b See here # not a heading run") == {
        "headings kept": 1.0,
        "code kept": 1.0,
        "links kept": 0.5,
    }
    assert kept("no structure", "no structure") == {}
