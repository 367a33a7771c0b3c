"""Bodies of many messages, cut into values as they come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.gateway.status import CallError
from answermesh.gateway.transcoding.elements import Splitter

_VALUES = st.lists(
    st.dictionaries(
        st.text(max_size=5), st.text(max_size=8) | st.integers() | st.lists(st.text(max_size=3)), max_size=3
    ),
    max_size=5,
)


def _split(body: bytes, step: int) -> list[Any]:
    splitter = Splitter(1 << 20)
    pieces: list[bytes] = []
    for at in range(0, len(body), step):
        pieces += splitter.feed(body[at : at + step])
    return [json.loads(piece) for piece in pieces + splitter.finish()]


@given(values=_VALUES, step=st.integers(1, 7), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_an_array_gives_its_elements_however_it_is_cut(
    values: list[Any], step: int, indent: int | None, ascii_only: bool
) -> None:
    assert _split(json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode(), step) == values


@given(values=_VALUES, step=st.integers(1, 7))
def test_lines_give_their_values_however_they_are_cut(values: list[Any], step: int) -> None:
    assert _split("\n".join(json.dumps(value) for value in values).encode() + b"\n\n", step) == values


@pytest.mark.parametrize("body", [b"[{},", b"[{}", b"[{},]", b"[,{}]", b"[{}]{}", b'{"a":', b'{"a', b"]", b"[{}]]"])
def test_a_broken_body_is_refused(body: bytes) -> None:
    with pytest.raises(CallError) as refused:
        _split(body, 3)
    assert refused.value.http_status == 400


def test_a_value_over_the_limit_is_refused_before_it_is_whole() -> None:
    splitter = Splitter(10)
    with pytest.raises(CallError) as refused:
        splitter.feed(b'["' + b"x" * 20)
    assert refused.value.http_status == 413
