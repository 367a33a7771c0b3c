"""A language model's text as it streams: the answer's characters, its sentences, and the sources named for each. No
I/O.

Models end a sentence with `[2]` or `[1][3]`. The markers are taken out of the text, with the white space before
them, and kept as hints. What may yet turn out to be a marker, or the word NOT_FOUND, is held back until it is
clear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from answermesh.agents.language.neutral import neutral, whole
from answermesh.knowledge.sentences import split

NOT_FOUND = "NOT_FOUND"
# Longest run of characters that may be a marker: "[1, 2, 3]".
_MAX_MARKER_CHARS = 24

_MARKER = re.compile(r"\s*\[\s*(\d{1,2}(?:\s*[,;]\s*\d{1,2})*)\s*\]")
_MAYBE_MARKER = re.compile(r"\s*(?:\[[\d\s,;]*)?\Z")


@dataclass(frozen=True, slots=True)
class Written:
    """A finished sentence: characters `start` to `end` of the answer."""

    index: int
    start: int
    end: int
    text: str
    # Numbers of the sources that the model named for it, in its order, each once.
    sources: tuple[int, ...]


class Writing:
    """Takes raw pieces in; gives characters to show, and sentences when they are finished."""

    def __init__(self, text: str = "", sources: str = "") -> None:
        """`text` is what was written before; `sources` is what addresses may be taken from."""
        # The answer so far.
        self.text = text
        self._sources = sources
        # Whether the model said that the sources do not answer.
        self.not_found = False
        self._held = ""
        self._started = bool(text)
        self._markers: list[tuple[int, int]] = []
        self._cut = 0
        self._count = 0

    def feed(self, piece: str) -> str:
        """The characters that follow in the answer; may be empty."""
        if self.not_found:
            return ""
        self._held += piece
        if not self._started:
            opening = self._held.lstrip().lstrip("*`\"'").replace(" ", "_").upper()
            if opening.startswith(NOT_FOUND):
                self.not_found = True
                return ""
            if NOT_FOUND.startswith(opening):
                return ""
            self._started = True
            self._held = self._held.lstrip()
        return self._release(final=False)

    def finish(self) -> str:
        """The last characters, after the last piece."""
        if self.not_found:
            return ""
        self._held = self._held if self._started else self._held.lstrip()
        return self._release(final=True)

    def sentences(self, *, final: bool = False) -> Iterator[Written]:
        """Sentences finished since the last call; all but the last are, until `final`.

        A sentence is finished when the next has begun: only then are its markers known.
        """
        spans = split(self.text[self._cut :])
        base = self._cut
        for position, span in enumerate(spans if final else spans[:-1]):
            start, end = base + span.start, base + span.end
            following = base + spans[position + 1].start if position + 1 < len(spans) else len(self.text) + 1
            named = [number for place, number in self._markers if start < place < following or place == end]
            yield Written(self._count, start, end, self.text[start:end], tuple(dict.fromkeys(named)))
            self._count += 1
            self._cut = end

    def _release(self, *, final: bool) -> str:
        end = len(self._held) if final else whole(self._held)
        judged = neutral(self._held[:end], self._sources)
        # What is not whole yet waits, with the markers that may stand before it.
        rest, self._held = self._held[end:], judged
        released = self._marked(final=final)
        self._held += rest
        return released

    def _marked(self, *, final: bool) -> str:
        """Take the markers out of what is held, and release all that cannot be part of one."""
        released = ""
        while match := _MARKER.search(self._held):
            released += self._held[: match.start()]
            place = len(self.text) + len(released)
            self._markers.extend((place, int(number)) for number in re.findall(r"\d+", match.group(1)))
            self._held = self._held[match.end() :]
        keep = len(self._held)
        if not final and (maybe := _MAYBE_MARKER.search(self._held)) and keep - maybe.start() <= _MAX_MARKER_CHARS:
            keep = maybe.start()
        released += self._held[:keep]
        self._held = self._held[keep:]
        if final:
            released = released.rstrip()
            self._held = ""
        self.text += released
        return released
