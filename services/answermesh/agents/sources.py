"""Source sentences: the quotable pieces of the passages that have arrived, each with its place in passage and
document.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from answermesh.agents.language.suspicion import sentences as split_apart
from answermesh.agents.language.suspicion import suspects
from answermesh.agents.language.turns import by_turn
from answermesh.agents.language.words import content_stems
from answermesh.v1.finding_pb2 import Citation, Passage, Span

_WHITE_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, eq=False)
class Source:
    """Characters `start` to `end` of a passage's text: one sentence, or a few in a row."""

    passage: Passage
    start: int
    end: int
    # Position of the (first) sentence within its passage.
    index: int
    # False for headings, table rows and code.
    prose: bool = True

    @cached_property
    def text(self) -> str:
        """The characters, unchanged."""
        return self.passage.text[self.start : self.end]

    @cached_property
    def stems(self) -> frozenset[str]:
        """Stems of the words that carry meaning."""
        return content_stems(self.text)

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells two pieces apart."""
        return self.passage.name, self.start, self.end

    def citation(self, sentence_index: int, confidence: float) -> Citation:
        """The citation of this piece for a sentence of the answer."""
        return Citation(
            sentence_index=sentence_index,
            passage=self.passage.name,
            document=self.passage.document,
            document_title=self.passage.document_title,
            uri=self.passage.uri,
            span=Span(start=self.passage.span.start + self.start, end=self.passage.span.start + self.end),
            text=self.text,
            confidence=confidence,
            trust=Citation.TRUST_SUSPECT if suspects(self.passage.text) else Citation.TRUST_PLAIN,
        )


class Sources:
    """The passages that have arrived, each name once, cut into source sentences."""

    def __init__(self) -> None:
        self.passages: dict[str, Passage] = {}
        self._sentences: dict[str, list[Source]] = {}
        self._pairs: dict[str, list[Source]] = {}

    def add(self, passage: Passage) -> bool:
        """Take in a passage; False if one of that name is there already."""
        if passage.name in self.passages:
            return False
        self.passages[passage.name] = passage
        spans = by_turn(passage.text, split_apart(passage.text))
        sentences = [Source(passage, span.start, span.end, index, span.prose) for index, span in enumerate(spans)]
        self._sentences[passage.name] = sentences
        self._pairs[passage.name] = [
            Source(passage, one.start, two.end, one.index)
            for one, two in itertools.pairwise(sentences)
            if one.prose and two.prose
        ]
        return True

    def sentences(self, names: Iterable[str] | None = None) -> list[Source]:
        """The source sentences of the named passages, or of all, in order of arrival."""
        return [
            source for name in (self.passages if names is None else names) for source in self._sentences.get(name, ())
        ]

    def windows(self, names: Iterable[str] | None = None) -> list[Source]:
        """All source sentences, and all pairs of neighbours: a sentence may say what a source says in two."""
        wanted = list(self.passages if names is None else names)
        return self.sentences(wanted) + [pair for name in wanted for pair in self._pairs.get(name, ())]

    def verbatim(self, text: str, preferred: Sequence[str] = ()) -> Source | None:
        """Where a text stands in a passage word for word, white space aside; the preferred passages are looked at
        first.
        """
        pattern = re.compile(r"\s+".join(map(re.escape, _WHITE_SPACE.split(text.strip()))))
        names = [name for name in preferred if name in self.passages]
        for name in [*names, *(name for name in self.passages if name not in names)]:
            passage = self.passages[name]
            if text.strip() and (match := pattern.search(passage.text)):
                return Source(passage, match.start(), match.end(), 0)
        return None
