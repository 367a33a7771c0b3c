"""How a text is cut into passages: along its structure, each an exact span of the text.

A passage holds whole blocks (paragraphs, items, tables, code) of one section while they fit; a block that does not fit
is cut at sentence ends, code and tables at line ends. A heading goes with what follows it. Each character that is not
white space is in exactly one passage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from answermesh.knowledge.blocks import Block, Kind
from answermesh.knowledge.sentences import split

# Characters that a passage is filled up to: long enough to stand alone, short enough to be about one thing.
TARGET_CHARS = 900
# Characters that a passage never exceeds: about the 512 tokens that the embedder reads, for English prose.
MAX_CHARS = 1600


@dataclass(frozen=True, slots=True)
class Chunk:
    """Characters `start` to `end` (exclusive) of a text, without white space at either side."""

    start: int
    end: int
    headings: tuple[str, ...]
    page: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """A piece that is not cut any further."""

    start: int
    end: int
    block: Block


def cut(text: str, blocks: Sequence[Block]) -> list[Chunk]:
    """The passages of `text`, in order. Text before the first block belongs to it."""
    chunks: list[Chunk] = []
    pending: list[_Unit] = []
    for unit in _units(text, blocks):
        if pending and _starts_anew(pending, unit):
            chunks.append(_chunk(pending))
            pending = []
        pending.append(unit)
    if pending:
        chunks.append(_chunk(pending))
    return chunks


def _starts_anew(pending: Sequence[_Unit], unit: _Unit) -> bool:
    length = unit.end - pending[0].start
    if length > MAX_CHARS:
        return True
    if all(one.block.kind is Kind.HEADING for one in pending):
        return False
    return unit.block.kind is Kind.HEADING or unit.block.headings != pending[-1].block.headings or length > TARGET_CHARS


def _chunk(units: Sequence[_Unit]) -> Chunk:
    # The last one's headings: a run of headings opens ever deeper sections.
    return Chunk(units[0].start, units[-1].end, units[-1].block.headings, units[0].block.page)


def _units(text: str, blocks: Sequence[Block]) -> Iterator[_Unit]:
    if not blocks:
        blocks = [Block(0, Kind.TEXT)]
    for index, block in enumerate(blocks):
        start = block.start if index else 0
        end = blocks[index + 1].start if index + 1 < len(blocks) else len(text)
        for unit_start, unit_end in _pieces(text, start, end, block.kind):
            yield _Unit(unit_start, unit_end, block)


def _pieces(text: str, start: int, end: int, kind: Kind) -> Iterator[tuple[int, int]]:
    """The block whole, or, if it is too long for that, runs of its sentences or lines of about TARGET_CHARS."""
    by_line = kind in (Kind.CODE, Kind.TABLE, Kind.ITEM)
    start, end = _trimmed(text, start, end)
    whole_chars = MAX_CHARS if by_line else TARGET_CHARS
    last = start
    for stop in _stops(text, start, end, by_line=by_line) if end - start > whole_chars else ():
        if stop - start > TARGET_CHARS and last > start:
            yield from _filled(text, start, last)
            start = last
        while stop - start > MAX_CHARS:
            yield from _filled(text, start, start + MAX_CHARS)
            start += MAX_CHARS
        last = stop
    yield from _filled(text, start, end)


def _stops(text: str, start: int, end: int, *, by_line: bool) -> Iterator[int]:
    """Where the block may be cut, its end last."""
    if by_line:
        stop = text.find("\n", start, end)
        while stop >= 0:
            yield stop + 1
            stop = text.find("\n", stop + 1, end)
    else:
        for sentence in split(text[start:end]):
            yield start + sentence.end
    yield end


def _filled(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    start, end = _trimmed(text, start, end)
    if start < end:
        yield start, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
