"""An answer composed of source sentences, chosen by the cross-encoder and quoted unchanged. No I/O."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from answermesh.agents.language.suspicion import suspect
from answermesh.agents.language.turns import Turn, turn_at
from answermesh.agents.language.words import content_stems, similarity
from answermesh.agents.sources import Source
from answermesh.v1.finding_pb2 import Passage, Relation

# Logit from which a sentence answers beside the best one.
ANSWERING_LOGIT = 0.0
# A further sentence must come this near to the best, in logits: on SQuAD 2, 4 brings the answer into 0.6 % more of the
# texts than 2, for two and a half times as many further sentences.
NEAR_BEST = 2.0
# Of a question that is not compound; each part of one that is gets a sentence at least.
MAX_SENTENCES = 3
# Share of words in common from which two sentences say the same.
REDUNDANT = 0.6
MIN_WORDS = 4
# Sentences of a turn of a conversation that are told, and characters of it that the models read.
MAX_TURN = 6
MAX_READ_CHARS = 600
MAX_CHARS = 700
# Share of letters and spaces below which a sentence is code or a table rather than a statement.
_MIN_LETTERS = 0.65

_OBEYED = re.compile(r"!\[|<(?:img|script|iframe|style|link|object|embed|svg|form|meta|a)\b", re.IGNORECASE)
# Openings that lean on the sentence before.
_LEANING = re.compile(
    r"(?:it|its|they|their|this|these|those|he|she|his|her|such|however|therefore|thus|hence|also|instead|otherwise|then)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Scored:
    """A source sentence and how well it answers."""

    source: Source
    # Logit against the question, or against the part of it that it answers best.
    logit: float
    # That part: 0 for the question as a whole.
    part: int = 0
    # What the reader adds, where the sentence holds the piece that it chose.
    lift: float = 0.0

    @property
    def worth(self) -> float:
        """By which sentences are ranked."""
        return self.logit + self.lift


def quotable(source: Source) -> bool:
    """Whether a source sentence can stand in an answer: a statement in prose, of readable length, to a reader."""
    text = source.text
    if not harmless(source):
        return False
    if not source.prose or not len(text.split()) >= MIN_WORDS or len(text) > MAX_CHARS or text.endswith(("?", ":")):
        return False
    return sum(letter.isalpha() or letter.isspace() for letter in text) >= _MIN_LETTERS * len(text)


def harmless(source: Source) -> bool:
    """Whether nobody is given orders: what speaks to a language model is no answer, and an image or a tag would be
    obeyed by whoever shows it.
    """
    return not suspect(source.text) and not _OBEYED.search(source.text)


def preselect(
    questions: Sequence[str], sources: Sequence[Source], relations: Sequence[Relation], limit: int
) -> list[Source]:
    """The sentences most worth the cross-encoder's time, by words, by their passage's rank and by what the graph says.

    Words are weighed by their rarity among the sentences, as in BM25: the words that all of them share decide nothing.
    """
    frequency = Counter(stem for source in sources for stem in source.stems)
    wanted = frozenset[str]().union(*map(content_stems, questions))
    weights = {stem: math.log(1 + len(sources) / (1 + frequency[stem])) for stem in wanted}
    total = sum(weights.values()) or 1.0
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(source.passage.name for source in sources))}

    def worth(source: Source) -> float:
        heading = content_stems(" ".join([source.passage.document_title, *source.passage.headings]))
        words = sum(weight for stem, weight in weights.items() if stem in source.stems)
        context = sum(weight for stem, weight in weights.items() if stem in heading and stem not in source.stems)
        stated = any(_states(source, relation) for relation in relations)
        return (words + 0.5 * context) / total + 1.0 / (2 + ranks[source.passage.name]) + 0.2 * stated

    return sorted(sources, key=worth, reverse=True)[:limit]


def in_context(source: Source) -> str:
    """The sentence as the models read it: under its heading, without which "It is 100 ms." answers nothing, and within
    its turn of a conversation, where a sentence alone is mostly "Sounds good!".
    """
    heading = source.passage.headings[-1] if source.passage.headings else source.passage.document_title
    whole = turn_at(source.passage.text, source.start)
    said = source.passage.text[whole.start : whole.end].strip()[:MAX_READ_CHARS] if whole else source.text
    return f"{heading}: {said}" if heading else said


def turn(source: Source, neighbors: Mapping[tuple[str, int], Source]) -> list[Source]:
    """A sentence of a conversation with the rest of what its speaker says there; elsewhere the sentence alone.

    Who answers a question in a chat rarely does so in the sentence that repeats its words.
    """
    whole = turn_at(source.passage.text, source.start)
    if whole is None:
        return [source]
    before = _within(whole, source, -1, neighbors)[: MAX_TURN - 1]
    after = _within(whole, source, 1, neighbors)[: MAX_TURN - 1 - len(before)]
    return [*reversed(before), source, *after]


def _within(whole: Turn, source: Source, step: int, neighbors: Mapping[tuple[str, int], Source]) -> list[Source]:
    """The sentences of a turn from a neighbour of this one on, outwards."""
    found: list[Source] = []
    index = source.index + step
    while (other := neighbors.get((source.passage.name, index))) and whole.start <= other.start < whole.end:
        if harmless(other):
            found.append(other)
        index += step
    return found


def choose(question: str, scored: Sequence[Scored], neighbors: Mapping[tuple[str, int], Source]) -> list[Source]:
    """The sentences of the answer, in reading order.

    `neighbors` finds a sentence by its passage's name and its index there.
    """
    asked = content_stems(question)
    ranked = sorted(scored, key=lambda one: -one.worth)
    if not ranked:
        return []
    highest = max(one.logit for one in ranked)
    floor = min(ANSWERING_LOGIT, ranked[0].logit)
    chosen: list[Source] = []
    # Each part of a compound question is answered first, then the best of the rest follow.
    firsts = {one.part: one for one in reversed(ranked)}
    for one in [*sorted(firsts.values(), key=lambda one: -one.worth), *ranked]:
        near_best = one.logit >= highest - NEAR_BEST or one is firsts[one.part]
        if one.logit < floor or not near_best or _said(one.source, chosen):
            continue
        if chosen and one is not firsts[one.part] and _alike_only(asked, one.source, chosen):
            continue
        before = neighbors.get((one.source.passage.name, one.source.index - 1))
        leans = _LEANING.match(one.source.text) and before is not None and quotable(before)
        added = [before, one.source] if leans and before is not None and not _said(before, chosen) else [one.source]
        if len(chosen) + len(added) <= max(MAX_SENTENCES, len(firsts)):
            chosen.extend(added)
    chosen = list(dict.fromkeys(part for one in chosen for part in turn(one, neighbors)))
    return _in_reading_order(chosen)


def joined(sources: Sequence[Source]) -> list[str]:
    """What to append for each sentence: the sentence, behind a space, or a new line where the one before has no end."""
    pieces: list[str] = []
    for source in sources:
        ended = not pieces or pieces[-1].rstrip("\"'”’)*_`").endswith((".", "!", "…"))
        pieces.append(f"{'' if not pieces else ' ' if ended else chr(10)}{source.text}")
    return pieces


def unanswered(passages: Sequence[Passage]) -> str:
    """What is said where the documents do not answer."""
    titles = list(dict.fromkeys(passage.document_title or passage.uri for passage in passages))[:2]
    if not titles:
        return "The documents do not answer this question: no passage about it was found."
    where = " and ".join(map(_quoted, titles))
    return f"The documents do not answer this question. The nearest passages found are in {where}."


def _quoted(title: str) -> str:
    return f"“{' '.join(title.split())}”"


def _states(source: Source, relation: Relation) -> bool:
    start = source.passage.span.start
    same = relation.passage == source.passage.name
    return same and relation.span.start < start + source.end and start + source.start < relation.span.end


def _alike_only(asked: frozenset[str], source: Source, chosen: Sequence[Source]) -> bool:
    """Whether a sentence is about something that is only like what the question is about: it has fewer of the
    question's words than the first of those chosen, and none that they lack.
    """
    mine, first, *rest = (asked & _spoken_of(one) for one in (source, *chosen))
    return not mine >= first and mine <= first.union(*rest)


def _spoken_of(source: Source) -> frozenset[str]:
    """What a sentence speaks of, what it stands under included."""
    return source.stems | content_stems(" ".join([source.passage.document_title, *source.passage.headings]))


def _said(source: Source, chosen: Sequence[Source]) -> bool:
    return any(source.key == other.key or similarity(source.stems, other.stems) >= REDUNDANT for other in chosen)


def _in_reading_order(chosen: Sequence[Source]) -> list[Source]:
    """Documents in the order of their best sentence, and within a document as it reads."""
    documents = list(dict.fromkeys(source.passage.document for source in chosen))
    return sorted(
        chosen, key=lambda source: (documents.index(source.passage.document), source.passage.span.start + source.start)
    )
