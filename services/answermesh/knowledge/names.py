"""Runs of capitalised words, and what they likely name: a person, an organisation, a place, or a thing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from answermesh.knowledge.entity_types import TYPE_CONCEPT, TYPE_LOCATION, TYPE_ORGANIZATION, TYPE_PERSON, EntityType

_WORD = re.compile(r"[^\W_](?:[^\W_]|['’.&+-](?=[^\W_])){0,60}(?:\+\+|#)?")
# Between two words of one name: one space or line end, and nothing else.
_GAP = re.compile(r"[ \t]{1,2}\n?[ \t]{0,4}|\n[ \t]{0,4}")
_SENTENCE_START = re.compile(r"(?:\A|[.!?:;…]|\n|[\"“(\[*_>|])[\s\"'“‘(\[*_>|#-]{0,20}\Z")
_JOINING = frozenset(
    """
    of the de da del della di du van von der den la le and for & y zu bin al
    """.split()
)

# Words that carry a capital for standing first, not for naming something.
_COMMON = frozenset(
    """
    a an the this that these those it its he she they we you i my your our their his her one some any all each
    every no not none if when where while who whom whose what which why how after before since until because
    although though however therefore thus then than there here in on at by for from of to with without within
    into onto over under between among about as but and or nor so yet also both either neither only just more
    most many much few several such same other another is are was were be been being do does did can could may
    might must shall should will would has have had let note see use using used make set run add get first
    second third last next finally once again now today yes ok please given consider suppose like unlike instead
    besides moreover furthermore additionally similarly otherwise meanwhile even still currently usually
    typically often sometimes always never ensure check create start stop name list tell explain describe
    compare give find show write read does during through per via although whether because example examples
    warning caution important tip todo overview introduction summary conclusion background usage install new
    default optional required available every download upgrade
    """.split()
)
_HONORIFICS = frozenset(
    """
    mr mrs ms dr prof professor president king queen sir lady captain general senator judge pope saint
    """.split()
)
_ORGANIZATIONS = frozenset(
    """
    inc ltd llc corp corporation company co gmbh ag university institute foundation association committee
    council ministry department agency bank school college laboratory labs party union commission court group
    society church team club league press hospital museum army navy
    """.split()
)
_PLACES = frozenset(
    """
    river lake mount mountain mountains island islands sea ocean city county street avenue bay valley desert
    peninsula province state airport park
    """.split()
)
_COUNTRIES = frozenset(
    """
    africa america asia australia austria belgium brazil britain california canada chile china cuba denmark
    egypt england europe finland france germany greece india indonesia iran iraq ireland israel italy japan
    kenya korea mexico netherlands nigeria norway pakistan peru poland portugal russia scotland spain sweden
    switzerland texas turkey ukraine vietnam wales london paris berlin rome madrid moscow tokyo beijing shanghai
    delhi sydney boston chicago washington
    """.split()
)
_GIVEN_NAMES = frozenset(
    """
    adam albert alexander alice andrew anna anne anthony barbara benjamin carl carlos charles christopher daniel
    david diego edward elizabeth emily emma eric francis frank george hans helen henry isaac jack jacob james
    jane jean jennifer jessica john jonathan jose joseph juan karl kevin laura leonard linda louis lucy margaret
    maria mark martin mary matthew michael mohammed nancy nicholas oliver patricia patrick paul peter philip
    rachel ralph richard robert roger ronald ruth sam samuel sarah sophie stephen steven susan thomas victor
    victoria walter wei william yuki
    """.split()
)


def name_runs(text: str, taken: bytearray) -> Iterator[tuple[int, int, EntityType]]:
    """Runs as (start, end, type), skipping characters that `taken` marks.

    A single word at a sentence's start counts only if it is an acronym, stands capitalised within a sentence elsewhere
    in the text, or starts several and is never small.
    """
    runs = list(_runs(text, taken))
    inner = {text[start:end] for words in runs if not words[0][2] for start, end, _ in words}
    inner |= _repeated(text, runs)
    for words in runs:
        while words and text[words[0][0] : words[0][1]].casefold() in _COMMON:
            words = words[1:]
        while words and not text[words[-1][0]].isupper():
            words = words[:-1]
        if not words:
            continue
        start, end = words[0][0], words[-1][1]
        if text.startswith(("'s", "’s"), end - 2):
            end -= 2
        name = text[start:end]
        if len(words) == 1 and words[0][2] and name not in inner and not _is_acronym(name):
            continue
        if len(name) > 1 and name.casefold() not in _HONORIFICS:
            yield start, end, _type(name, text[max(0, start - 14) : start])


def _repeated(text: str, runs: list[list[tuple[int, int, bool]]]) -> set[str]:
    """Words that start several sentences and never stand in small letters: likelier names than nouns."""
    counts = Counter(text[start:end] for words in runs for start, end, _ in words[:1])
    small = {match.group() for match in _WORD.finditer(text)}
    return {word for word, count in counts.items() if count > 1 and word.lower() not in small}


def _runs(text: str, taken: bytearray) -> Iterator[list[tuple[int, int, bool]]]:
    """Runs of words (start, end, stands first in its sentence), joined by white space and small words such as "of"."""
    run: list[tuple[int, int, bool]] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        word = match.group()
        joined = bool(run) and _GAP.fullmatch(text, run[-1][1], start) is not None
        if (
            any(taken[start:end])
            or not (word[0].isupper() or (joined and word.casefold() in _JOINING))
            or len(run) == 8
        ):
            if run:
                yield run
            run = []
            if any(taken[start:end]) or not word[0].isupper():
                continue
        elif not joined and run:
            yield run
            run = []
        first = not run and _SENTENCE_START.search(text, max(0, start - 24), start) is not None
        run.append((start, end, first))
    if run:
        yield run


def _is_acronym(name: str) -> bool:
    return sum(map(str.isupper, name)) >= 2 and len(name) <= 12


def _type(name: str, before: str) -> EntityType:
    words = [word.casefold().strip(".") for word in name.split()]
    title = before.split()[-1:]
    if words[0] in _HONORIFICS or (title and title[0].casefold().strip(".") in _HONORIFICS):
        return TYPE_PERSON
    if words[-1] in _ORGANIZATIONS or words[0] in ("university", "institute", "ministry", "bank", "department"):
        return TYPE_ORGANIZATION
    if words[-1] in _PLACES or words[0] in ("mount", "lake") or words[-1] in _COUNTRIES:
        return TYPE_LOCATION
    if len(words) in (2, 3, 4) and words[0] in _GIVEN_NAMES:
        return TYPE_PERSON
    return TYPE_CONCEPT
