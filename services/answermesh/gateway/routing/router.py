"""Which binding a method and a raw path lead to: a trie on undecoded segments.

At each segment a literal is tried before `*`, and `*` before `**`; a path with a verb is tried as such before its colon
is taken for data. Where several bindings match the same path and method, the one declared first wins, and the others
are told in `conflicts`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from answermesh.gateway.routing.template import Template

T = TypeVar("T")

_ESCAPED_UNRESERVED = re.compile(r"%(2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])")
# A rule of this method takes every method that has no rule of its own.
ANY_METHOD = "*"


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    star: _Node[T] | None = None
    # Bindings by method of the paths that end here, and of those that end in `**` here.
    ends: dict[str, T] = field(default_factory=dict)
    tails: dict[str, T] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """A binding, and the raw segments of the path, without the verb."""

    binding: T
    segments: list[str]


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """The path is known, but not for this method; `allow` is sorted."""

    allow: tuple[str, ...]


class Router(Generic[T]):
    """Filled once by `add`, then only asked."""

    def __init__(self) -> None:
        self._roots: dict[str, _Node[T]] = {}
        # Rules whose paths are all literal, by method and path: these come before all others.
        self._literal: dict[tuple[str, str], Match[T]] = {}
        self.conflicts: list[str] = []

    def add(self, method: str, template: Template, binding: T) -> None:
        """Lead paths of `template` to `binding`."""
        node = self._roots.setdefault(template.verb, _Node())
        segments = template.segments
        for segment in segments if segments[-1] != "**" else segments[:-1]:
            if segment == "*":
                node.star = node.star or _Node()
                node = node.star
            else:
                node = node.literals.setdefault(segment, _Node())
        table = node.tails if segments[-1] == "**" else node.ends
        if method in table:
            self.conflicts.append(f"{method} {template.text} is bound twice; the first declared binding wins")
        else:
            table[method] = binding
            if not any("*" in segment or "%" in segment for segment in segments):
                self._literal[method, template.text] = Match(binding, list(segments))

    def match(self, method: str, raw_path: str) -> Match[T] | WrongMethod | None:
        """The binding of a raw, still percent-encoded path; None if no template matches it at all."""
        literal = self._literal.get((method, raw_path))
        if literal is not None:
            return literal
        segments = raw_path.split("/")[1:]
        if not segments:
            return None
        allow: set[str] = set()
        head, _, verb = segments[-1].rpartition(":")
        if verb and verb in self._roots:
            stripped = [*segments[:-1], head]
            found = _find(self._roots[verb], stripped, 0, method, allow)
            if found is not None:
                return Match(found, stripped)
        if "" in self._roots:
            found = _find(self._roots[""], segments, 0, method, allow)
            if found is not None:
                return Match(found, segments)
        return WrongMethod(tuple(sorted(allow))) if allow else None


def _find(node: _Node[T], segments: list[str], at: int, method: str, allow: set[str]) -> T | None:
    if at == len(segments):
        found = _choose(node.ends, method, allow)
        return found if found is not None else _choose(node.tails, method, allow)
    segment = segments[at]
    if "%" in segment:
        segment = _ESCAPED_UNRESERVED.sub(lambda escape: chr(int(escape[1], 16)), segment)
    child = node.literals.get(segment)
    if child is not None:
        found = _find(child, segments, at + 1, method, allow)
        if found is not None:
            return found
    if node.star is not None and segment:
        found = _find(node.star, segments, at + 1, method, allow)
        if found is not None:
            return found
    return _choose(node.tails, method, allow)


def _choose(table: dict[str, T], method: str, allow: set[str]) -> T | None:
    if not table:
        return None
    found = table.get(method)
    if found is None and method == "HEAD":
        found = table.get("GET")
    if found is None:
        found = table.get(ANY_METHOD)
    if found is None:
        allow.update(table)
    return found
