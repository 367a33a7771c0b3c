"""Questions with the places of their answers: of SQuAD 2.0, what can be made of those, and of relations.

No text of the sets is kept; what is read lies in a folder of the sets.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from answermesh.evaluation.sets import rows
from answermesh.knowledge.sentences import split

# Questions of a relation, and of one document.
MAX_OF_RELATION = 90
MAX_OF_DOCUMENT = 14


@dataclass(frozen=True, slots=True)
class Example:
    """A question and a text; the answer stands at all of `spans`, or nowhere."""

    question: str
    text: str
    spans: Sequence[tuple[int, int]]
    article: str
    paragraph: str = ""
    answers: Sequence[str] = field(default=())


def places(text: str, answers: Sequence[str]) -> list[tuple[int, int]]:
    """Where answers stand as whole words; else where they stand in other letters' case."""
    whole = {match.span() for answer in answers for match in re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", text)}
    return sorted(
        whole or {match.span() for one in answers for match in re.finditer(re.escape(one), text, re.IGNORECASE)}
    )


def squad(data: Path) -> list[Example]:
    """The questions of SQuAD 2.0, each with its own paragraph."""
    texts = {row["id"]: row["text"] for row in rows(data / "squad2", "corpus")}
    found = []
    for row in rows(data / "squad2", "queries"):
        answers = row["answers"] if row["answerable"] else []
        text = texts[row["context_id"]]
        article = row["context_id"].split("#")[0]
        example = Example(row["text"], text, places(text, answers), article, row["context_id"], answers)
        if bool(example.spans) == bool(answers):
            found.append(example)
    return found


def variants(examples: Sequence[Example], chance: random.Random) -> Iterator[Example]:
    """Some of the questions asked of other texts: of their paragraph without its answer, of a few sentences of it, of
    another paragraph. SQuAD's paragraphs are all long, and its questions without an answer are all made to deceive.
    """
    texts = sorted({(one.paragraph, one.text, one.article) for one in examples})
    for one in examples:
        draw = chance.random()
        if one.spans and draw < 0.22:
            yield from _without(one)
        elif draw < 0.42:
            yield from _alone(one, chance)
        elif draw < 0.54:
            same = chance.random() < 0.7
            others = [
                text for name, text, article in texts if name != one.paragraph and (article == one.article) is same
            ]
            text = chance.choice(others)
            if not places(text, one.answers):
                yield replace(one, text=text, spans=(), answers=())


def _sentences(example: Example) -> tuple[list[str], set[int]]:
    """The sentences of an example's text, and which of them hold the answer."""
    spans = split(example.text)
    holding = {n for n, span in enumerate(spans) for start, _ in example.spans if span.start <= start < span.end}
    return [example.text[span.start : span.end] for span in spans], holding


def _without(example: Example) -> Iterator[Example]:
    sentences, holding = _sentences(example)
    text = " ".join(one for n, one in enumerate(sentences) if n not in holding)
    if text and not places(text, example.answers):
        yield replace(example, text=text, spans=(), answers=())


def _alone(example: Example, chance: random.Random) -> Iterator[Example]:
    sentences, holding = _sentences(example)
    middle = chance.choice(sorted(holding) or range(len(sentences)))
    text = " ".join(sentences[max(0, middle - chance.randint(0, 1)) : middle + 1 + chance.randint(0, 1)])
    spans = places(text, example.answers)
    if bool(spans) == bool(example.answers):
        yield replace(example, text=text, spans=spans)


def relations(data: Path, chance: random.Random) -> list[Example]:
    """Questions made of the relations of Re-DocRED, and half as many about relations that the text does not tell."""
    table = tomllib.loads((Path(__file__).parent / "relations.toml").read_text(encoding="utf-8"))
    found: list[Example] = []
    asked: Counter[str] = Counter()
    documents = rows(data / "redocred", "docs")
    chance.shuffle(documents)
    for document in documents:
        found += _of_document(document, table, asked, chance)
    chance.shuffle(found)
    return found


def _of_document(
    document: Mapping[str, Any], table: Mapping[str, Any], asked: Counter[str], chance: random.Random
) -> Iterator[Example]:
    things = {thing["id"]: thing for thing in document["entities"]}
    told: dict[tuple[int, str], list[int]] = defaultdict(list)
    for triple in document["triples"]:
        told[triple["h"], triple["name"]].append(triple["t"])
    pairs = list(told.items())
    chance.shuffle(pairs)
    count = 0
    for (head, relation), tails in pairs:
        kind = things[head]["type"]
        name = max((mention["name"] for mention in things[head]["mentions"]), key=len)
        known = relation in table and kind in table[relation]["of"]
        if not known or asked[relation] >= MAX_OF_RELATION or count >= MAX_OF_DOCUMENT or len(name) < 3:
            continue
        text, spans = _around(document, things, head, tails, chance)
        if not spans:
            continue
        asked[relation] += 1
        count += 1
        question = chance.choice(table[relation]["questions"]).format(h=name)
        if chance.random() < 0.3:
            question = question[0].lower() + question[1:]
        yield Example(question, text, spans, document["id"])
        untold = [
            other
            for other, row in table.items()
            if row.get("certain") and (head, other) not in told and kind in row["of"]
        ]
        if untold and chance.random() < 0.5:
            question = chance.choice(table[chance.choice(untold)]["questions"]).format(h=name)
            yield Example(question, text, (), document["id"])


def _around(
    document: Mapping[str, Any], things: Mapping[int, Any], head: int, tails: Collection[int], chance: random.Random
) -> tuple[str, list[tuple[int, int]]]:
    """Some sentences in which a thing and what it is related to are named, and where the latter is."""
    heads = {mention["sent"] for mention in things[head]["mentions"]}
    mentions = [mention for tail in tails for mention in things[tail]["mentions"]]
    near = [one for one in mentions if any(abs(one["sent"] - sentence) <= 2 for sentence in heads)]
    if not near:
        return "", []
    middle = chance.choice([one for one in near if one["sent"] in heads] or near)["sent"]
    first = max(0, middle - chance.randint(0, 3))
    first = min(first, *(sentence for sentence in heads if abs(sentence - middle) <= 2))
    last = max(min(len(document["sents"]), first + chance.randint(4, 8)), middle + 1)
    text, tokens = _joined(document["sents"][first:last])
    spans = {
        (tokens[one["sent"] - first][one["start"]][0], tokens[one["sent"] - first][one["end"] - 1][1])
        for one in mentions
        if first <= one["sent"] < last and one["end"] > one["start"]
    }
    return text, sorted(spans)


def _joined(sentences: Sequence[Sequence[str]]) -> tuple[str, list[list[tuple[int, int]]]]:
    """Tokens as text, and the characters of each."""
    text = ""
    quoted = False
    spans: list[list[tuple[int, int]]] = []
    for sentence in sentences:
        spans.append([])
        for token in sentence:
            opened = text.endswith(("(", "[", "$", "-", "–")) or (quoted and text.endswith('"'))
            closes = token in {",", ".", ";", ":", "!", "?", ")", "]", "%", "'s", "n't", "'", "-", "–"}
            if token == '"':
                closes, quoted = quoted, not quoted
            if text and not opened and not closes:
                text += " "
            spans[-1].append((len(text), len(text) + len(token)))
            text += token
    return text, spans
