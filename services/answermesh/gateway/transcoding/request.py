"""HTTP request to request message: one builder per binding, compiled once.

A message is put together on the wire: the body first, then query parameters, then path variables, which therefore win.
Everything that does not fit is a CallError (400 or 415) naming the field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from protobuf import DescMessage, Registry

from answermesh.gateway.descriptors.schema import Rule
from answermesh.gateway.routing.template import Variable
from answermesh.gateway.status import refused
from answermesh.gateway.transcoding.body import Body, body_reader
from answermesh.gateway.transcoding.fields import FieldEncoder, FieldPathError, field_encoder
from answermesh.gateway.transcoding.mask import mask_filler

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED_SLASH = re.compile(r"(%2[Ff])")
# Encoders of query parameters are remembered by name, up to this many names per binding.
_MEMORY = 256
_MAX_PARAMETERS = 1000


@dataclass(frozen=True, slots=True)
class _Bound:
    variable: Variable
    field: FieldEncoder


class RequestBuilder:
    """Builds the request messages of one binding."""

    def __init__(
        self, message: DescMessage, rule: Rule, variables: Sequence[Variable], registry: Registry, *, strict: bool
    ) -> None:
        """`strict` refuses JSON fields and query parameters that the message does not have; else they are ignored.

        Raises FieldPathError where the rule names a field that it cannot bind.
        """
        self._message = message
        self._strict = strict
        self._bound = [_Bound(variable, _path_field(message, variable)) for variable in variables]
        # Field paths that the path sets, as the template writes them.
        self.variables = tuple(variable.field_path for variable in variables)
        self._nested = any(bound.field.nested for bound in self._bound)
        self._path_numbers = {bound.field.numbers for bound in self._bound}
        self.body: Body = body_reader(message, rule.body, registry, strict=strict)
        self._fill_mask = mask_filler(message, rule)
        self._query: dict[str, FieldEncoder] = {}

    def path(self, segments: Sequence[str]) -> bytes:
        """The fragments of the path variables."""
        return b"".join([_path_value(bound, segments) for bound in self._bound])

    def build(self, segments: Sequence[str], query: str, content_type: str, body: bytes) -> bytes:
        """The serialised request message. `segments` and `query` are still percent-encoded."""
        message = self.body.read(content_type, body)
        if not (query or self._bound or self._fill_mask):
            return message
        parts, given, nested = self.query(query) if query else ([], set(), False)
        if self._fill_mask is not None and self._fill_mask.number not in {numbers[0] for numbers in given}:
            parts.append(self._fill_mask.fill(body))
        if self._bound:
            parts.append(self.path(segments))
        joined = b"".join([message, *parts])
        if nested or self._nested:
            # Parts of one nested message become one: not every parser merges them, though it should.
            return self._message.type.from_binary(joined).to_binary()
        return joined

    def query(self, query: str) -> tuple[list[bytes], set[tuple[int, ...]], bool]:
        """Fragments of the query parameters, the field numbers they set, and whether any is nested."""
        parts: list[bytes] = []
        given: set[tuple[int, ...]] = set()
        nested = False
        if self.body.takes_all:
            if self._strict and not self.body.is_raw:
                raise refused(
                    "UNKNOWN_PARAMETER",
                    "Query parameters are not allowed here, since the body holds the whole request.",
                )
            return parts, given, nested
        pairs = query.split("&")
        if len(pairs) > _MAX_PARAMETERS:
            raise refused("TOO_MANY_PARAMETERS", f"More than {_MAX_PARAMETERS} query parameters; send fewer.")
        for pair in pairs:
            if not pair:
                continue
            name, _, text = pair.partition("=")
            name = _plain(name)
            field = self._query.get(name) or self._parameter(name)
            if field is None or field.numbers in self._path_numbers:
                continue
            if field.numbers in given and not field.repeated:
                raise refused("REPEATED_PARAMETER", f"Query parameter {name!r} is given twice; give one.", field=name)
            given.add(field.numbers)
            nested = nested or field.nested
            parts.append(_encoded(field, name, _plain(text)))
        return parts, given, nested

    def _parameter(self, name: str) -> FieldEncoder | None:
        try:
            field = field_encoder(self._message, name)
        except FieldPathError as error:
            if not self._strict and "is no field of" in str(error):
                return None
            raise refused("UNKNOWN_PARAMETER", f"Query parameter {error}.", field=name[:200]) from error
        if field.numbers[0] == self.body.field_number:
            raise refused(
                "UNKNOWN_PARAMETER", f"Query parameter {name!r} is set by the body; leave it out.", field=name
            )
        if len(self._query) < _MEMORY:
            self._query[name] = field
        return field


def _path_field(message: DescMessage, variable: Variable) -> FieldEncoder:
    field = field_encoder(message, variable.field_path)
    if field.repeated:
        raise FieldPathError(f"{variable.field_path!r} is repeated; a path variable must be a single value")
    return field


def _path_value(bound: _Bound, segments: Sequence[str]) -> bytes:
    variable = bound.variable
    raw = segments[variable.start] if variable.single else "/".join(segments[variable.start : variable.end])
    text = decode(raw, "The path", keep_slashes=not variable.single) if "%" in raw else raw
    return _encoded(bound.field, variable.field_path, text)


def _plain(raw: str) -> str:
    """A name or value of the query, decoded."""
    if "+" in raw:
        raw = raw.replace("+", " ")
    return decode(raw, "The query") if "%" in raw else raw


def _encoded(field: FieldEncoder, name: str, text: str) -> bytes:
    try:
        return field.encode(text)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise refused("INVALID_FIELD", f"{name}: {error}", field=name) from error


def decode(raw: str, what: str, *, keep_slashes: bool = False) -> str:
    """Percent-decoded once; "%2F" stays with `keep_slashes`, as google/api/http.proto wants it of several segments."""
    if "%" not in raw:
        return raw
    if bad := _BAD_ESCAPE.search(raw):
        raise refused(
            "INVALID_ESCAPE", f"{what} has a '%' at {raw[bad.start() : bad.start() + 3]!r} that is no escape."
        )
    try:
        if not keep_slashes:
            return unquote(raw, errors="strict")
        pieces = _ESCAPED_SLASH.split(raw)
        return "".join(piece if index % 2 else unquote_to_bytes(piece).decode() for index, piece in enumerate(pieces))
    except UnicodeDecodeError as error:
        raise refused("INVALID_UTF8", f"{what} is not UTF-8 once decoded.") from error
