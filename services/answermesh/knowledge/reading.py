"""A file read as a whole: its text, its passages, and the entities and relations of each. Pure, and heavy on the
processor."""

from __future__ import annotations

from dataclasses import dataclass

from answermesh.knowledge.chunks import Chunk, cut
from answermesh.knowledge.entities import Mention, extract
from answermesh.knowledge.entity_types import TYPE_QUANTITY
from answermesh.knowledge.parsers import parse
from answermesh.knowledge.relations import Relation, relate

# Raised whenever the same file would be read differently, so that importing again replaces what older code made of it.
VERSION = 1
# Entities of one passage that the graph keeps, most salient by position.
_MAX_MENTIONS = 40


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage, with its mentions (first of each key) and relations; all spans count from the start of the document's
    text."""

    start: int
    end: int
    headings: tuple[str, ...]
    page: int
    mentions: tuple[Mention, ...] = ()
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What is stored of a file. `title` is empty where the file does not say."""

    text: str
    title: str
    media_type: str
    passages: tuple[Passage, ...]


def read(content: bytes, name: str, media_type: str = "") -> Reading:
    """Read a file. Raises UnreadableError, as parsers.parse does."""
    media_type, parsed = parse(content, name, media_type)
    passages = tuple(_passage(parsed.text, chunk) for chunk in cut(parsed.text, parsed.blocks))
    return Reading(parsed.text, parsed.title, media_type, passages)


def _passage(text: str, chunk: Chunk) -> Passage:
    part = text[chunk.start : chunk.end]
    first: dict[str, Mention] = {}
    # Numbers are no entities of a corpus: the same number means another thing in each passage.
    for mention in extract(part):
        if mention.type != TYPE_QUANTITY and len(first) < _MAX_MENTIONS:
            first.setdefault(mention.key, mention)
    offset = chunk.start
    return Passage(
        chunk.start,
        chunk.end,
        chunk.headings,
        chunk.page,
        tuple(Mention(m.start + offset, m.end + offset, m.text, m.type, m.key) for m in first.values()),
        tuple(
            Relation(r.subject, r.object, r.predicate, r.start + offset, r.end + offset)
            for r in relate(part, list(first.values()))
        ),
    )
