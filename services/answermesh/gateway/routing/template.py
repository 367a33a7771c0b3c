"""Path templates of google.api.http: parsed into segments, variables and a verb.

    Template = "/" Segments [ ":" Verb ]        Segment  = "*" | "**" | LITERAL | Variable
    Variable = "{" FieldPath [ "=" Segments ] "}"

The grammar is google/api/http.proto's. `**` stands last, as that file demands; a variable holds no other variable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FIELD_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
# pchar of RFC 3986 without ":" (a verb starts there) and without the template's own characters.
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()+,;=@]|%[0-9A-Fa-f]{2})+")


class TemplateError(ValueError):
    """A template that the grammar does not allow; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Variable:
    """The segments `start` to `end` (exclusive; None = to the path's end) make the value of `field_path`."""

    field_path: str
    start: int
    end: int | None
    # True if the pattern is one `*`: then "%2F" is decoded too.
    single: bool


@dataclass(frozen=True, slots=True)
class Template:
    """`segments` are literals, "*" or "**" (only last); `verb` is "" where there is none."""

    text: str
    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str


def parse(text: str) -> Template:
    """The template, or TemplateError."""
    if not text.startswith("/"):
        raise TemplateError(f"path template {text!r} must start with '/'")
    body, verb = _split_verb(text[1:])
    segments: list[str] = []
    variables: list[Variable] = []
    for part in _split(body, text):
        if part.startswith("{"):
            variables.append(_variable(part, segments, text))
        else:
            segments.append(_segment(part, text))
    if "**" in segments[:-1]:
        raise TemplateError(f"path template {text!r}: '**' must be the last segment")
    paths = [variable.field_path for variable in variables]
    if len(set(paths)) < len(paths):
        raise TemplateError(f"path template {text!r} binds a field twice")
    return Template(text, tuple(segments), tuple(variables), verb)


def _split_verb(text: str) -> tuple[str, str]:
    at = text.rfind(":")
    if at <= max(text.rfind("/"), text.rfind("}") - 1, -1):
        return text, ""
    return text[:at], text[at + 1 :]


def _split(body: str, text: str) -> list[str]:
    parts, depth, part = [], 0, ""
    for character in body:
        if character == "/" and not depth:
            parts.append(part)
            part = ""
            continue
        depth += (character == "{") - (character == "}")
        if not 0 <= depth <= 1:
            raise TemplateError(f"path template {text!r}: variables do not nest")
        part += character
    if depth:
        raise TemplateError(f"path template {text!r}: '{{' is not closed")
    return [*parts, part]


def _segment(part: str, text: str) -> str:
    if part in ("*", "**") or _LITERAL.fullmatch(part):
        return part
    raise TemplateError(f"path template {text!r}: {part!r} is no segment")


def _variable(part: str, segments: list[str], text: str) -> Variable:
    if not part.endswith("}"):
        raise TemplateError(f"path template {text!r}: {part!r} must end with '}}'")
    field_path, _, pattern = part[1:-1].partition("=")
    if not _FIELD_PATH.fullmatch(field_path):
        raise TemplateError(f"path template {text!r}: {field_path!r} is no field path")
    pattern = pattern or "*"
    start = len(segments)
    segments.extend(_segment(piece, text) for piece in pattern.split("/"))
    open_ended = segments[-1] == "**"
    return Variable(field_path, start, None if open_ended else len(segments), single=pattern == "*")
