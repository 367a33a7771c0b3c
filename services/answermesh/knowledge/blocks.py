"""What a parser makes of a file: its text, and where the blocks of that text start."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """What a block is, which decides where it may be cut."""

    HEADING = "heading"
    TEXT = "text"
    # A list item, a record, a row: short, and packed together with its neighbours.
    ITEM = "item"
    TABLE = "table"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of the text from `start` to the start of the next block."""

    start: int
    kind: Kind
    # Headings above it, outermost first; a heading's own text is the last.
    headings: tuple[str, ...] = ()
    # Page it starts on, counted from 1; 0 where there are none.
    page: int = 0


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file as text. `title` is empty where the file does not say."""

    text: str
    title: str
    blocks: tuple[Block, ...]


class UnreadableError(Exception):
    """A file cannot be read. The message says what is wrong with it and what to do, in words for its owner."""


class Writer:
    """Text put together piece by piece, with a block at each piece."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._headings: list[tuple[int, str]] = []
        self.blocks: list[Block] = []
        self.page = 0

    def add(self, text: str, kind: Kind, *, tight: bool = False) -> None:
        """Append a block; an empty line stands before it, or, if `tight`, a line end. Blank text is left out."""
        text = text.strip("\n")
        if not text.strip():
            return
        if self._pieces:
            self._append("\n" if tight else "\n\n")
        self.blocks.append(Block(self._length, kind, tuple(title for _, title in self._headings), self.page))
        self._append(text)

    def add_heading(self, text: str, level: int) -> None:
        """Append a heading; what follows stands below it until one of the same or a higher level."""
        title = " ".join(text.split())
        if title:
            self._headings = [(above, one) for above, one in self._headings if above < level] + [(level, title[:200])]
            self.add(title, Kind.HEADING)

    def parsed(self, title: str) -> Parsed:
        """What was put together."""
        return Parsed("".join(self._pieces), " ".join(title.split()), tuple(self.blocks))

    def _append(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)
