"""What a statement turns on: its words in order, with numbers, units and dates, negations and limits told apart.

"The default timeout is not 1,000 ms."  ->  default · timeout · NOT · 1 second
"""

from __future__ import annotations

import enum
import itertools
import re
from dataclasses import dataclass, replace

from answermesh.agents.language.words import STOP_WORDS, listed, stem, words


class Role(enum.Enum):
    """What a part of a statement does."""

    WORD = enum.auto()
    NUMBER = enum.auto()
    NEGATION = enum.auto()
    # Limits a statement: "if", "only", "may", "at most". Leaving one out changes what is stated.
    LIMIT = enum.auto()


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a statement; two parts with the same role, key and unit state the same."""

    role: Role
    key: str
    unit: str
    # As written, for rationales.
    text: str
    start: int

    @property
    def identity(self) -> tuple[Role, str, str]:
        """What parts are compared by."""
        return self.role, self.key, self.unit


_NEGATIONS = frozenset(
    listed(
        """
        not no never none neither nor cannot without nothing nobody nowhere hardly barely scarcely lack lacks
        """
    )
)
# "fails to start" says that it does not; "fails" alone says what happens.
_FAILING = frozenset(listed("fail fails failed"))
_LIMITS = frozenset(
    listed(
        """
        if unless when whenever while until till except only may might can could would should must will shall
        sometimes some few many most often rarely usually generally typically always all every any both either
        almost nearly approximately around about more less least fewer over under above below before after since
        between from by against maximum minimum max min up likely probably possibly only just claimed alleged
        reportedly supposedly because although though despite whether else otherwise instead but however
        """
    )
)
# "about", "into" and the like are no content for search, yet decide what a statement states.
_SKIPPED = STOP_WORDS - _LIMITS - _NEGATIONS

_NUMBER_WORDS = {
    word: float(value)
    for value, word in enumerate(
        listed(
            """
        zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty
        """
        )
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_NUMBER_WORDS |= {"once": 1, "twice": 2, "half": 0.5, "dozen": 12}
_ORDINALS = {
    word: value
    for value, word in enumerate(
        listed(
            """
        first second third fourth fifth sixth seventh eighth ninth tenth
        """
        ),
        start=1,
    )
}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_CALENDAR = {
    word: (str(index), unit)
    for unit, names in (
        ("month", "jan feb mar apr may jun jul aug sep oct nov dec"),
        ("month", "january february march april may june july august september october november december"),
        ("weekday", "monday tuesday wednesday thursday friday saturday sunday"),
    )
    for index, word in enumerate(names.split(), start=1)
}
# Factor to the base unit of a kind of measure.
_UNITS: dict[str, tuple[float, str]] = {"%": (1, "%"), "percent": (1, "%")}
for _base, _table in {
    "s": "ns nanosecond nanoseconds:1e-9 us µs microsecond microseconds:1e-6 ms millisecond milliseconds:1e-3 "
    "s sec secs second seconds:1 min mins minute minutes:60 h hr hrs hour hours:3600 day days:86400 week weeks:604800",
    "byte": "b byte bytes:1 kb kilobyte kilobytes:1e3 mb megabyte megabytes:1e6 gb gigabyte gigabytes:1e9 tb terabyte "
    "terabytes:1e12 kib:1024 mib:1048576 gib:1073741824 tib:1099511627776",
    "m": "mm:1e-3 cm:1e-2 m meter meters metre metres:1 km kilometer kilometers kilometre kilometres:1e3 "
    "mile miles:1609.344 ft foot feet:0.3048",
    "year": "year years:1 decade decades:10 century centuries:100",
    "g": "mg:1e-3 g gram grams:1 kg kilogram kilograms:1e3 ton tons tonne tonnes:1e6",
}.items():
    _names: list[str] = []
    for _item in _table.split():
        _name, _, _factor = _item.partition(":")
        _names.append(_name)
        if _factor:
            _UNITS |= {name: (float(_factor), _base) for name in _names}
            _names = []

_NUMBER = re.compile(
    r"(?<![\w.,-])(?P<sign>-)?(?P<currency>[$€£¥])?(?P<version>v)?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*)(?P<ordinal>st|nd|rd|th)?(?P<suffix>%|[a-zµ]{1,3})?(?![\w])",
    re.IGNORECASE,
)
_SPACED_UNIT = re.compile(r"[\s-]*(?P<word>%|[A-Za-zµ]+)")


def is_limit_or_negation(word: str) -> bool:
    """Whether a word, lower-cased, limits or negates a statement."""
    return word in _LIMITS or word in _NEGATIONS


def parts(text: str) -> list[Part]:
    """The parts of a statement, in order."""
    numbers = _numbers(text)
    covered = [(start, end) for start, end, _ in numbers]
    found = [part for _, _, part in numbers]
    for word, following in itertools.pairwise([*words(text), None]):
        assert word is not None
        if word.text in _FAILING and following is not None and following.text == "to":
            found.append(Part(Role.NEGATION, word.text, "", text[word.start : word.end], word.start))
        elif not any(start < word.end and word.start < end for start, end in covered):
            found.extend(_word_parts(word.text, text[word.start : word.end], word.start))
    found.sort(key=lambda part: part.start)
    # "not only" negates nothing.
    for position, part in enumerate(found[:-1]):
        if part.role is Role.NEGATION and found[position + 1].key == "only":
            found[position] = replace(part, role=Role.LIMIT)
    return found


def _word_parts(word: str, written: str, start: int) -> list[Part]:
    if word in _NEGATIONS or word.endswith("n't"):
        # "never" says more than "not": each stands for itself, but for spellings of the same.
        key = "not" if word == "cannot" or word.endswith("n't") else word
        return [Part(Role.NEGATION, key, "", written, start)]
    # "may" is a month only where it is written like one and no sentence starts with it; the limit is the safer reading.
    if word in _CALENDAR and written[0].isupper() and not (word == "may" and start == 0):
        key, unit = _CALENDAR[word]
        return [Part(Role.NUMBER, key, unit, written, start)]
    if word in _ORDINALS:
        return [Part(Role.NUMBER, str(_ORDINALS[word]), "ordinal", written, start)]
    if word in _LIMITS:
        return [Part(Role.LIMIT, word, "", written, start)]
    return [] if word in _SKIPPED else [Part(Role.WORD, stem(word), "", written, start)]


def _numbers(text: str) -> list[tuple[int, int, Part]]:
    """Numbers in digits and in words, each with the unit that follows it."""
    found: list[tuple[int, int, Part]] = []
    for match in _NUMBER.finditer(text):
        suffix = (match["suffix"] or "").casefold()
        if suffix and suffix not in _UNITS and suffix not in {"k", "m", "bn", "x"}:
            continue  # an identifier that starts with a digit
        digits = match["digits"].replace(",", "")
        if (
            suffix == "s"
            and match["digits"].isdigit()
            and (len(digits) == 4 or (len(digits) == 2 and digits[1] == "0"))
        ):
            found.append(_number(text, match.start(), match.end(), digits, "decade"))  # the 1960s, the 60s
        elif match["version"] or digits.count(".") > 1:
            found.append(_number(text, match.start(), match.end(), digits, "version"))
        elif match["ordinal"]:
            found.append(_number(text, match.start(), match.end(), digits, "ordinal"))
        else:
            value = float(digits) * (-1 if match["sign"] else 1)
            found.append(_measure(text, match.start(), match.end(), value, suffix, match["currency"] or ""))
    taken = {start for start, _, _ in found}
    # "half-open" and "one-way" are words, not numbers: the tokenizer keeps them whole.
    spelled = [word for word in words(text) if word.text in _NUMBER_WORDS and word.start not in taken]
    return found + [_measure(text, word.start, word.end, _NUMBER_WORDS[word.text], "", "") for word in spelled]


def _measure(text: str, start: int, end: int, value: float, suffix: str, currency: str) -> tuple[int, int, Part]:
    """A number with its scale ("million") and its unit, brought to the base of its measure."""
    value *= {"k": 1e3, "m": 1e6 if currency else 1, "bn": 1e9}.get(suffix, 1)
    unit = currency
    if not (suffix and suffix in _UNITS):
        while (following := _SPACED_UNIT.match(text, end)) and following["word"].casefold() in _SCALES:
            value *= _SCALES[following["word"].casefold()]
            end = following.end()
        name = following["word"] if following else ""
        # A lone capital is a name ("2 B", "5 M"), a lone "m" or "s" after a space a unit.
        suffix = name.casefold() if name.casefold() in _UNITS and not (len(name) == 1 and name.isupper()) else ""
        end = following.end() if following and suffix else end
    if suffix in _UNITS and not (suffix == "m" and currency):
        factor, unit = _UNITS[suffix]
        value *= factor
    return _number(text, start, end, f"{value:.12g}", unit)


def _number(text: str, start: int, end: int, key: str, unit: str) -> tuple[int, int, Part]:
    return start, end, Part(Role.NUMBER, key, unit, text[start:end], start)
