"""An answer with its sources in the style of a manual: Markdown, APA, MLA, Chicago, BibTeX. Pure.

Documents have a title and an address, no author and no date of their own, so a source is told as each manual tells a
web page without either (APA 7, section 10.16; MLA 9, 5.25; Chicago 17, 14.207), with the day that the answer was made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

STYLES = ("markdown", "apa", "mla", "chicago", "bibtex")

_MONTHS = "January February March April May June July August September October November December".split()
# As MLA shortens them.
_SHORT = "Jan. Feb. Mar. Apr. May June July Aug. Sept. Oct. Nov. Dec.".split()
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|!])")


@dataclass(frozen=True, slots=True)
class Reference:
    """A span of a document that is cited."""

    title: str
    uri: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Cited:
    """A sentence of an answer, with the positions of its references."""

    text: str
    references: tuple[int, ...]


def exported(sentences: Sequence[Cited], references: Sequence[Reference], style: str, made: date) -> str:
    """The answer with its marks, and the list of what it cites; `style` is one of STYLES."""
    marked = " ".join(_marked(one, references, style) for one in sentences)
    listed = _listed(references, style, made)
    return marked + ("\n\n" + "\n".join(listed) if listed else "") + "\n"


def _marked(sentence: Cited, references: Sequence[Reference], style: str) -> str:
    """A sentence with what its style puts behind it."""
    numbers = [number + 1 for number in sentence.references]
    titles = list(dict.fromkeys(_title(references[number]) for number in sentence.references))
    text = " ".join(sentence.text.split())
    match style:
        case "markdown":
            return _plain(text) + "".join(f"[^{number}]" for number in numbers)
        case "apa":
            return text + (f" ({'; '.join(f'“{title},” n.d.' for title in titles)})" if titles else "")
        case "mla":
            return text + (f" ({'; '.join(f'“{title}”' for title in titles)})" if titles else "")
        case "chicago":
            return text + "".join(f"[{number}]" for number in numbers)
        case _:
            keys = ",".join(dict.fromkeys(_key(number, references[number - 1]) for number in numbers))
            return _latex(text) + (rf"~\cite{{{keys}}}" if keys else "")


def _listed(references: Sequence[Reference], style: str, made: date) -> list[str]:
    long = f"{_MONTHS[made.month - 1]} {made.day}, {made.year}"
    match style:
        case "markdown":
            return [
                f"[^{n}]: {_plain(_title(one))}, <{_uri(one)}>, characters {one.start}–{one.end}: “{_plain(one.text)}”"
                for n, one in enumerate(references, 1)
            ]
        case "apa":
            found = [f"{_stopped(_title(one))} (n.d.). Retrieved {long}, from {_uri(one)}" for one in references]
            return sorted(dict.fromkeys(found), key=str.casefold)
        case "mla":
            day = f"{made.day} {_SHORT[made.month - 1]} {made.year}"
            found = [f"“{_stopped(_title(one))}” {_uri(one)}. Accessed {day}." for one in references]
            return sorted(dict.fromkeys(found), key=str.casefold)
        case "chicago":
            return [
                f"{n}. “{_title(one)},” accessed {long}, {_uri(one)}, characters {one.start}–{one.end}."
                for n, one in enumerate(references, 1)
            ]
        case _:
            return [_entry(n, one, made) for n, one in enumerate(references, 1)]


def _entry(number: int, one: Reference, made: date) -> str:
    fields = {
        "title": f"{{{_latex(_title(one))}}}",
        "howpublished": rf"\url{{{_uri(one)}}}",
        "note": f"Characters {one.start}--{one.end}. Accessed {made.isoformat()}",
    }
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{_key(number, one)},\n{lines}\n}}"


def _key(number: int, one: Reference) -> str:
    word = next(iter(re.findall(r"[a-z0-9]+", _title(one).casefold())), "source")
    return f"{word}{number}"


def _title(one: Reference) -> str:
    return " ".join((one.title or one.uri).split())


def _plain(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _uri(one: Reference) -> str:
    """The address without what would end it in a link or a command."""
    return re.sub(r"[\s<>{}\\]", lambda found: f"%{ord(found.group()):02X}", one.uri)


def _stopped(title: str) -> str:
    return title if title.endswith((".", "?", "!")) else f"{title}."


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
