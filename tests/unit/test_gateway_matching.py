"""Random rules and paths: the router finds what a slow, plain matcher finds, with the same variables."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from answermesh.gateway.routing.router import Match, Router
from answermesh.gateway.routing.template import Template, parse

_LITERALS = st.sampled_from(["a", "b", "c"])
_PIECES = st.lists(_LITERALS | st.just("*"), min_size=1, max_size=3)


@st.composite
def _templates(draw: Any) -> str:
    """Templates of the grammar: literals, stars, variables over either, `**` last, verbs."""
    parts: list[str] = []
    for at in range(draw(st.integers(1, 4))):
        pieces = draw(_PIECES)
        parts.append(draw(st.sampled_from([f"{{v{at}={'/'.join(pieces)}}}", f"{{v{at}}}", pieces[0]])))
    parts += draw(st.sampled_from([[], ["**"], ["{rest=**}"], ["{rest=a/**}"]]))
    return "/" + "/".join(parts) + draw(st.sampled_from(["", "", ":go", ":stop"]))


_PATHS = st.lists(st.sampled_from(["a", "b", "c", "d", "a:go", "c:stop", "d:other"]), min_size=1, max_size=7)


def _plain_matches(pattern: tuple[str, ...], segments: list[str]) -> bool:
    if not pattern:
        return not segments
    if pattern[0] == "**":
        return any(_plain_matches(pattern[1:], segments[skipped:]) for skipped in range(len(segments) + 1))
    if not segments or pattern[0] not in ("*", segments[0]):
        return False
    return _plain_matches(pattern[1:], segments[1:])


def _without_verb(template: Template, path: list[str]) -> list[str] | None:
    """The segments that the template has to match; None if the path lacks its verb."""
    if not template.verb:
        return path
    head, colon, verb = path[-1].rpartition(":")
    return [*path[:-1], head] if colon and verb == template.verb else None


def _specificity(template: Template) -> tuple[Any, ...]:
    """Less is more specific: a verb before none, then segment by segment, then an end before `**`."""
    ranks = [{"*": 1, "**": 3}.get(segment, 0) for segment in template.segments]
    return not template.verb, [*ranks, 2]


@given(texts=st.lists(_templates(), min_size=1, max_size=6), path=_PATHS)
def test_the_router_finds_the_most_specific_of_what_a_plain_matcher_finds(texts: list[str], path: list[str]) -> None:
    templates = [parse(text) for text in texts]
    router: Router[Template] = Router()
    for template in templates:
        router.add("GET", template, template)
    matching = [
        template
        for template in templates
        if (segments := _without_verb(template, path)) is not None and _plain_matches(template.segments, segments)
    ]
    found = router.match("GET", "/" + "/".join(path))
    assert isinstance(found, Match) == bool(matching)
    if isinstance(found, Match):
        assert _specificity(found.binding) == min(map(_specificity, matching))
        assert found.binding is next(t for t in matching if _shape(t) == _shape(found.binding))
        assert list(found.segments) == _without_verb(found.binding, path)


def _shape(template: Template) -> tuple[tuple[str, ...], str]:
    return template.segments, template.verb


@given(text=_templates(), path=_PATHS)
def test_variables_hold_what_their_patterns_cover(text: str, path: list[str]) -> None:
    template = parse(text)
    segments = _without_verb(template, path)
    if segments is None or not _plain_matches(template.segments, segments):
        return
    for variable in template.variables:
        start, end = variable.start, variable.end
        assert _plain_matches(template.segments[:start], segments[:start])
        assert _plain_matches(template.segments[start:end], segments[start:end])
        assert end is None or _plain_matches(template.segments[end:], segments[end:])
