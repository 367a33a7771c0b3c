"""Whether a source statement states what a claim states, or the contrary: word by word, with no model and no doubt's
benefit.

ENTAILED asks for much: every word, number and negation of the claim in the same order in the source, and no
negation or limit ("if", "only", "may") of the source left out. CONTRADICTED asks that the two match but for a
number, a negation or an opposite. All else is NEUTRAL: a name or a word that differs may be a paraphrase or an
error, and this cannot tell.
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from answermesh.agents.language.facts import Part, Role, parts
from answermesh.agents.language.words import listed

# Words that must match beside the point of difference, as a number and as a share of the claim's: below, two
# statements are about different things, and a differing number means nothing.
MIN_MATCHED = 2
MIN_MATCHED_SHARE = 0.7
# Share of a claim's parts found in order from which it repeats a source with something put in another's place.
NEARLY_THE_SAME = 0.6
# Fewer parts than this make no statement that words alone could support.
MIN_CLAIM_PARTS = 3
# Longest comparison, in parts: the table below is their product.
MAX_PARTS = 250

_CLAUSE = re.compile(r"[;:—–()]|,|\.\s|\b(?:but|although|though|while|whereas|which|and)\b", re.IGNORECASE)
_OPPOSITES = frozenset(
    frozenset(pair.split("/"))
    for pair in listed(
        """
        least/most more/less before/after above/below over/under maximum/minimum max/min increas/decreas
        increas/reduc enabl/disabl allow/forbid allow/deny allow/prevent accept/reject grant/revok start/stop
        first/last true/false high/low higher/lower highest/lowest open/clos add/remov creat/delet read/writ
        success/failur succe/fail always/never all/none synchronou/asynchronou synchronous/asynchronous
        public/privat internal/external lock/unlock win/los won/lost buy/sell large/small larger/smaller
        largest/smallest fast/slow faster/slower early/late earlier/later old/new older/newer north/south east/west
        northern/southern eastern/western male/femal even/odd odd/even import/export push/pull
        """
    )
)
_LOWER_BOUNDS = frozenset(["over", "above", "more", "least"])
_NEGATING_PREFIXES = ("un", "in", "im", "dis", "non", "non-", "ir", "il", "de")


class Relation(enum.Enum):
    """How a source stands to a claim."""

    ENTAILED = enum.auto()
    CONTRADICTED = enum.auto()
    NEUTRAL = enum.auto()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a claim with a source."""

    relation: Relation
    # Share of the claim's parts found in order in the source, 0 to 1.
    matched: float
    # Why, in one sentence.
    rationale: str


def compare(claim: str, source: str) -> Comparison:
    """Compare a claim with one statement of a source."""
    if _folded(claim) == _folded(source):
        return Comparison(Relation.ENTAILED, 1.0, "the source says it word for word")
    claim_parts, source_parts = parts(claim)[:MAX_PARTS], parts(source)[:MAX_PARTS]
    pairs = _aligned(claim_parts, source_parts)
    matched = len(pairs) / len(claim_parts) if claim_parts else 0.0
    if not pairs:
        return Comparison(Relation.NEUTRAL, matched, "the source speaks of something else")
    missing = _without(claim_parts, {i for i, _ in pairs})
    unsaid = _without(source_parts, {j for _, j in pairs})
    begin, end = _clauses(source, source_parts[pairs[0][1]].start, source_parts[pairs[-1][1]].start)
    within = [part for part in unsaid if begin <= part.start < end]
    if conflict := _conflict(claim_parts, source_parts, pairs, missing, within):
        return Comparison(Relation.CONTRADICTED, matched, conflict)
    if missing:
        what = ", ".join(f'"{part.text}"' for part in missing[:3])
        return Comparison(Relation.NEUTRAL, matched, f"the source does not say {what}")
    # What stands before counts in full: "It is false that …", "If …, …" rule what follows them.
    limits = [part for part in unsaid if part.start < end and part.role in (Role.LIMIT, Role.NEGATION)]
    if limits:
        return Comparison(Relation.NEUTRAL, matched, f'the source limits it by "{limits[0].text}"')
    if len(claim_parts) < MIN_CLAIM_PARTS:
        return Comparison(Relation.NEUTRAL, matched, "the sentence states too little to be compared")
    return Comparison(Relation.ENTAILED, matched, "the source says it in the same words")


def _conflict(
    claim: list[Part], source: list[Part], pairs: list[tuple[int, int]], missing: list[Part], unsaid: list[Part]
) -> str:
    """Why the source says the contrary; empty if it does not."""
    words = [part for part in claim if part.role is Role.WORD]
    found = [claim[i] for i, _ in pairs if claim[i].role is Role.WORD]
    opposites = [(mine, theirs) for mine in missing for theirs in unsaid if _opposite(mine, theirs)]
    expected = len(words) - len({mine.start for mine, _ in opposites if mine.role is Role.WORD})
    if len(found) < MIN_MATCHED or len(found) < MIN_MATCHED_SHARE * expected:
        return ""
    for mine, theirs in _facing(claim, source, pairs):
        if mine.role is theirs.role is Role.NUMBER and _exclude(mine, theirs, claim, source):
            return f"the source says {theirs.text}, the sentence says {mine.text}"
    for mine, theirs in opposites:
        return f'the source says "{theirs.text}", the sentence says "{mine.text}"'
    # A negation turns a statement round only where all else is the same.
    if len(found) < len(words):
        return ""
    here = [part for part in missing if part.role is Role.NEGATION]
    there = [part for part in unsaid if part.role is Role.NEGATION]
    if here and not there:
        return f'the source says it without "{here[0].text}"'
    if there and not here:
        return f'the source says "{there[0].text}", the sentence does not'
    return ""


def _facing(claim: list[Part], source: list[Part], pairs: list[tuple[int, int]]) -> list[tuple[Part, Part]]:
    """Parts of the claim and of the source that stand between the same matched neighbours."""
    found: list[tuple[Part, Part]] = []
    bounds = [(-1, -1), *pairs, (len(claim), len(source))]
    for (i0, j0), (i1, j1) in itertools.pairwise(bounds):
        # Beyond the first and the last match the source may go on about other things: look no further than the claim
        # does.
        mine = claim[i0 + 1 : i1]
        theirs = source[j0 + 1 : j1]
        if i0 < 0:
            theirs = theirs[len(theirs) - len(mine) :] if mine else []
        elif i1 == len(claim):
            theirs = theirs[: len(mine)]
        found.extend((one, other) for one in mine for other in theirs)
    return found


def _exclude(mine: Part, theirs: Part, claim: list[Part], source: list[Part]) -> bool:
    """Whether two numbers measure the same, so that only one of them can be right.

    A version at the front names what the statement is about, and two versions may both be right.
    """
    if mine.unit == "version" and claim.index(mine) < len(claim) / 2:
        return False
    return mine.unit == theirs.unit and mine.key != theirs.key and not at_least(mine, theirs, claim, source)


def at_least(mine: Part, theirs: Part, claim: Sequence[Part], source: Sequence[Part]) -> bool:
    """Whether the claim says "more than 250" where the source says 300: both may be right."""
    if not _bounded(mine, claim) or _bounded(theirs, source) or mine.unit in ("version", "ordinal"):
        return False
    return float(theirs.key) >= float(mine.key)


def _bounded(number: Part, within: Sequence[Part]) -> bool:
    position = within.index(number)
    return position > 0 and within[position - 1].key in _LOWER_BOUNDS


def _opposite(mine: Part, theirs: Part) -> bool:
    if {mine.role, theirs.role} & {Role.NUMBER, Role.NEGATION}:
        return False
    if frozenset((mine.key, theirs.key)) in _OPPOSITES:
        return True
    longer, shorter = sorted((mine.key, theirs.key), key=len, reverse=True)
    return len(shorter) >= 4 and any(longer == prefix + shorter for prefix in _NEGATING_PREFIXES)


def has_opposite(claim: Iterable[Part], source: Sequence[Part]) -> bool:
    """Whether one of the claim's parts is the opposite of one of the source's."""
    return any(_opposite(mine, theirs) for mine in claim for theirs in source)


def _aligned(claim: list[Part], source: list[Part]) -> list[tuple[int, int]]:
    """The longest common subsequence, as pairs of positions; of several, one that ends early in the source."""
    lengths = [[0] * (len(source) + 1) for _ in range(len(claim) + 1)]
    for i in range(len(claim) - 1, -1, -1):
        for j in range(len(source) - 1, -1, -1):
            if claim[i].identity == source[j].identity:
                lengths[i][j] = lengths[i + 1][j + 1] + 1
            else:
                lengths[i][j] = max(lengths[i + 1][j], lengths[i][j + 1])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(claim) and j < len(source):
        if claim[i].identity == source[j].identity and lengths[i][j] == lengths[i + 1][j + 1] + 1:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _clauses(text: str, first: int, last: int) -> tuple[int, int]:
    """The clauses of a source that the matched parts stand in: a negation beyond them is about something else."""
    begin = max((match.end() for match in _CLAUSE.finditer(text, 0, first)), default=0)
    after = _CLAUSE.search(text, last)
    return begin, after.start() if after else len(text)


def _without(all_parts: list[Part], taken: set[int]) -> list[Part]:
    return [part for index, part in enumerate(all_parts) if index not in taken]


def numbers_missing(claim: str, source: str) -> list[str]:
    """Numbers of a claim, as written, that a source does not give."""
    given = {part.identity for part in parts(source)}
    return [part.text for part in parts(claim) if part.role is Role.NUMBER and part.identity not in given]


def negation_differs(claim: str, source: str) -> bool:
    """Whether one of the two negates and the other does not."""
    negating = [any(part.role is Role.NEGATION for part in parts(text)) for text in (claim, source)]
    return negating[0] != negating[1]


def substitutions(claim: str, source: str) -> list[tuple[Part, Part]]:
    """What a claim says where the source, in the same words before and behind, says something else.

    Pairs of a part of the claim and a part of the source; empty where the two are not nearly the same statement.
    """
    claim_parts, source_parts = parts(claim)[:MAX_PARTS], parts(source)[:MAX_PARTS]
    pairs = _aligned(claim_parts, source_parts)
    if len(pairs) < max(MIN_MATCHED, NEARLY_THE_SAME * len(claim_parts)):
        return []
    mine = {i for i, _ in pairs}
    theirs = {j for _, j in pairs}
    facing = _facing(claim_parts, source_parts, pairs)
    unmatched = (set(map(id, _without(claim_parts, mine))), set(map(id, _without(source_parts, theirs))))
    return [(one, other) for one, other in facing if id(one) in unmatched[0] and id(other) in unmatched[1]]


def _folded(text: str) -> str:
    return " ".join(text.split()).strip(" .").casefold()
