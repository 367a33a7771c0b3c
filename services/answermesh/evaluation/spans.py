"""Measures of retrieved character spans against those that hold the evidence. Pure.

As in Chroma's report on chunking: recall of the evidence's characters, precision of the retrieved ones, and their
intersection over union; a character that is retrieved twice costs twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Document, start, end (exclusive).
Span = tuple[str, int, int]


def measures(retrieved: Sequence[Span], evidence: Sequence[Span]) -> dict[str, float]:
    """Recall, precision and IoU in characters; {} where there is no evidence."""
    wanted = _characters(evidence)
    if not wanted:
        return {}
    read = sum(end - start for _, start, end in retrieved)
    hit = len(wanted & _characters(retrieved))
    return {
        "recall": hit / len(wanted),
        "precision": hit / read if read else 0.0,
        "IoU": hit / (read + len(wanted) - hit),
    }


def _characters(spans: Iterable[Span]) -> set[tuple[str, int]]:
    return {(document, at) for document, start, end in spans for at in range(start, end)}
