"""Where the sentences of a text stand: plain prose and Markdown alike.

Rules, no model. Text is cut into blocks first (paragraphs, list items, headings, table rows, fenced code), then a
block of prose is cut after `.`, `!` or `?` where the next characters look like a start. Each character that is
neither white space nor a block's marker (`-`, `1.`, `>`, `#`) lies in exactly one sentence. Time is linear in the
length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Longest sentence in characters; a run without an end is cut at white space, so that models and readers get bounded
# pieces.
MAX_SENTENCE_CHARS = 1200


@dataclass(frozen=True, slots=True)
class Sentence:
    """Characters `start` to `end` (exclusive) of a text, without white space or marker at either side."""

    start: int
    end: int
    # False for headings, table rows and code: something to find by, but nothing to quote as a statement.
    prose: bool = True


_LINE = re.compile(r"[^\n]*(?:\n|\Z)")
_FENCE = re.compile(r"[ \t>]*(```+|~~~+)")
# Markers in front of a line's words: quote, list, heading. Each at most a few characters, so no backtracking of note.
_MARKER = re.compile(r"[ \t]*(?:>[ \t]?)*(?:(?P<item>(?:[-*+•]|\d{1,9}[.)])[ \t]+)|(?P<heading>#{1,6}[ \t]+))?")
_RULE = re.compile(
    r"[ \t]*(?:-[ \t]*){3,}$|[ \t]*(?:\*[ \t]*){3,}$|[ \t]*(?:_[ \t]*){3,}$|[ \t]*={3,}[ \t]*$|\+{3,}[ \t]*$"
)
_TABLE = re.compile(r"[ \t>]*\|")
_TAG = re.compile(r"[ \t]*(?:</?[A-Za-z][^\n]*>|\{\{.*\}\})[ \t]*$")
# Possessive, and never started within a run: a million dots cost a million steps.
_END = re.compile(r"(?<![.!?…])(?P<mark>[.!?…]++)(?P<close>[\"'”’)\]*_»`]*+)(?=\s)|(?P<cjk>[。！？]++[”’」』）]*+)")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘]+\Z")
_STARTS = re.compile(r"\s+[\"'“‘(\[*_«`!<]*(?P<first>\w)")
_CODE_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)[^`\n]+\1(?!`)")

_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st sr jr gen col sgt capt lt rev hon gov sen rep pres vs viz cf ca al approx dept est fig
    figs eq eqs no nos vol vols pp p ch sec ed eds inc ltd co corp e.g i.e eg ie u.s u.k a.m p.m jan feb mar apr
    jun jul aug sep sept oct nov dec
    """.split()
)
# These may end a sentence as well: a capital after them decides.
_SOMETIMES = frozenset(
    ["etc", "inc", "ltd", "co", "corp", "jr", "sr", "a.m", "p.m", "al", "no", "p", "sec", "mar", "ed", "est"]
)


def split(text: str) -> list[Sentence]:
    """The sentences of `text`, in order, not overlapping. Spans count characters (code points)."""
    found: list[Sentence] = []
    for start, end, prose in _blocks(text):
        found.extend(_cut(text, start, end) if prose else _trimmed(text, start, end, prose=False))
    return found


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Paragraphs and the like, as (start, end, prose), markers left out at the start."""
    open_start: int | None = None
    fence = ""
    position = _front_matter_end(text)
    if position:
        yield 0, position, False
    fence_start = position
    while position < len(text):
        match = _LINE.match(text, position)
        assert match is not None
        line_start, line_end = match.span()
        position = line_end
        line = match.group().rstrip("\r\n")
        if fence:
            if line.lstrip(" \t>").startswith(fence):
                yield fence_start, line_end, False
                fence = ""
            continue
        opening = _FENCE.match(line)
        whole = opening is None and bool(_TABLE.match(line) or _RULE.match(line) or _TAG.match(line))
        marker = _MARKER.match(line)
        assert marker is not None
        begins = marker["item"] is not None or marker["heading"] is not None
        if (not line.strip() or opening or whole or begins) and open_start is not None:
            yield open_start, line_start, True
            open_start = None
        if opening:
            fence, fence_start = opening[1], line_start
        elif whole:
            yield line_start, line_end, False
        elif marker["heading"] is not None:
            yield line_start + marker.end(), line_end, False
        elif open_start is None and line.strip():
            open_start = line_start + marker.end()
    if fence:
        yield fence_start, len(text), False
    elif open_start is not None:
        yield open_start, len(text), True


def _front_matter_end(text: str) -> int:
    """End of the metadata that some Markdown files open with, or 0."""
    for rule in ("---\n", "+++\n"):
        if text.startswith(rule):
            end = text.find("\n" + rule, len(rule) - 1, 10_000)
            return end + 1 + len(rule) if end >= 0 else 0
    return 0


def _cut(text: str, start: int, end: int) -> Iterator[Sentence]:
    """The sentences of one block of prose."""
    code = [match.span() for match in _CODE_SPAN.finditer(text, start, end)]
    in_code = 0
    begin = start
    for match in _END.finditer(text, start, end):
        while in_code < len(code) and code[in_code][1] <= match.start():
            in_code += 1
        if in_code < len(code) and code[in_code][0] < match.start() and match.end() < code[in_code][1]:
            continue
        if match["cjk"] is None and not _ends(text, begin, match, end):
            continue
        yield from _trimmed(text, begin, match.end(), prose=True)
        begin = match.end()
    yield from _trimmed(text, begin, end, prose=True)


def _ends(text: str, begin: int, match: re.Match[str], end: int) -> bool:
    """Whether a sentence ends at this mark rather than an abbreviation or an initial."""
    following = _STARTS.match(text, match.end(), end)
    if following is None:
        return True
    first = following["first"]
    if match["mark"] != ".":
        # "Really?" she asked. - a small letter after a closing quote goes on with the sentence.
        return not (first.islower() and match["close"])
    before = _WORD_BEFORE.search(text, max(begin, match.start() - 40), match.start())
    word = before.group().casefold() if before else ""
    if len(word) == 1 and word.isalpha() and word != "i":
        return False
    if word in _ABBREVIATIONS or word == "etc":
        return word in _SOMETIMES and first.isupper()
    # Some names begin small ("etcd is …"): a small letter still starts a sentence after an ordinary word.
    return not first.islower() or len(word) >= 3 or bool(match["close"])


def _trimmed(text: str, start: int, end: int, *, prose: bool) -> Iterator[Sentence]:
    """The span without white space at its sides, in pieces of bounded length."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > MAX_SENTENCE_CHARS:
        limit = start + MAX_SENTENCE_CHARS
        space = max(text.rfind(" ", start + 1, limit), text.rfind("\n", start + 1, limit))
        stop = space if space > start else limit
        yield Sentence(start, start + len(text[start:stop].rstrip()), prose)
        start = stop
        while text[start].isspace():
            start += 1
    if start < end:
        yield Sentence(start, end, prose)
