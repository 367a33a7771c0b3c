"""Templates and the router: which binding a raw path leads to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.gateway.routing.router import Match, Router, WrongMethod
from answermesh.gateway.routing.template import TemplateError, parse


def _router(*rules: str) -> Router[str]:
    router: Router[str] = Router()
    for rule in rules:
        method, _, template = rule.partition(" ")
        router.add(method, parse(template), rule)
    return router


def _found(router: Router[str], method: str, path: str) -> str | None:
    match = router.match(method, path)
    return match.binding if isinstance(match, Match) else None


def test_a_variable_covers_the_segments_of_its_pattern() -> None:
    template = parse("/v1/{name=queries/*}/feedback/{id}:undo")
    assert template.segments == ("v1", "queries", "*", "feedback", "*")
    assert template.verb == "undo"
    assert [(v.field_path, v.start, v.end, v.single) for v in template.variables] == [
        ("name", 1, 3, False),
        ("id", 4, 5, True),
    ]


@pytest.mark.parametrize(
    "text",
    ["v1/x", "/v1/**/x", "/v1/{a={b}}", "/v1/{a", "/v1/{1a}", "/v1//x", "/v1/{a}/{a}", "/v1/{a=**}/x", "/v1/a}b"],
)
def test_a_template_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        parse(text)


def test_a_literal_goes_before_a_star_and_a_star_before_the_rest() -> None:
    router = _router("GET /a/{rest=**}", "GET /a/{one}", "GET /a/exact")
    assert _found(router, "GET", "/a/exact") == "GET /a/exact"
    assert _found(router, "GET", "/a/other") == "GET /a/{one}"
    assert _found(router, "GET", "/a/b/c") == "GET /a/{rest=**}"


def test_a_dead_end_after_a_literal_goes_back_to_the_star() -> None:
    router = _router("GET /a/exact/x", "GET /a/{one}/y")
    assert _found(router, "GET", "/a/exact/y") == "GET /a/{one}/y"


def test_a_verb_counts_only_where_a_template_has_it() -> None:
    router = _router("GET /q/{id}", "POST /q/{id}:cancel", "GET /other:watch")
    assert _found(router, "POST", "/q/1:cancel") == "POST /q/{id}:cancel"
    assert router.match("GET", "/q/1:watch") == Match("GET /q/{id}", ["q", "1:watch"])


def test_an_escaped_colon_is_data() -> None:
    router = _router("GET /q/{id}", "GET /q/{id}:cancel")
    assert _found(router, "GET", "/q/1%3Acancel") == "GET /q/{id}"


def test_an_escaped_letter_is_the_letter() -> None:
    assert _found(_router("GET /queries"), "GET", "/%71ueries") == "GET /queries"


def test_a_wrong_method_tells_the_right_ones() -> None:
    router = _router("GET /a/{x}", "DELETE /a/{x}")
    assert router.match("PUT", "/a/1") == WrongMethod(("DELETE", "GET"))


def test_head_is_served_by_get_and_any_method_by_the_star() -> None:
    router = _router("GET /a", "* /b")
    assert _found(router, "HEAD", "/a") == "GET /a"
    assert _found(router, "REPORT", "/b") == "* /b"


def test_two_bindings_of_one_path_are_told_and_the_first_wins() -> None:
    router = _router("GET /a/{x}", "GET /a/{y}")
    assert _found(router, "GET", "/a/1") == "GET /a/{x}"
    assert router.conflicts == ["GET /a/{y} is bound twice; the first declared binding wins"]


_SEGMENT = st.sampled_from(["a", "b", "*", "{x}", "{y=a/*}"])


@given(
    segments=st.lists(_SEGMENT, min_size=1, max_size=4),
    tail=st.sampled_from(["", "/**"]),
    path=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6),
)
def test_a_template_matches_what_its_regular_expression_matches(
    segments: list[str], tail: str, path: list[str]
) -> None:
    numbered = [segment.replace("x", f"x{at}").replace("y", f"y{at}") for at, segment in enumerate(segments)]
    text = "/" + "/".join(numbered) + tail
    pattern = "".join({"{x}": "/[^/]+", "*": "/[^/]+", "{y=a/*}": "/a/[^/]+"}.get(s, f"/{s}") for s in segments)
    expected = re.fullmatch(pattern + ("(/.*)?" if tail else ""), "/" + "/".join(path)) is not None
    assert (_found(_router(f"GET {text}"), "GET", "/" + "/".join(path)) is not None) == expected
