"""Pages of lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.errors import Failure, Reason
from answermesh.rpc.pages import decode_token, encode_token, page_size
from answermesh.rpc.tenancy import as_tenant

positions = st.lists(st.integers() | st.text(st.characters(exclude_categories=["Cs"])), max_size=4)


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_the_size_of_a_page_is_bounded(asked: int, given: int) -> None:
    assert page_size(asked) == given


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(Failure, match="page_size: is -1") as failure:
        page_size(-1)
    assert failure.value.reason is Reason.INVALID_FIELD


@given(st.text(st.characters(exclude_categories=["Cs"])), positions)
def test_a_token_leads_back_to_its_position(scope: str, position: list[str | int]) -> None:
    assert decode_token(scope, encode_token(scope, position)) == position


def test_an_empty_token_is_the_first_page() -> None:
    assert decode_token("ListQueries", "") is None


@given(positions, st.data())
def test_a_token_with_one_character_changed_is_refused(position: list[str | int], draw: st.DataObject) -> None:
    token = encode_token("ListQueries", position)
    at = draw.draw(st.integers(0, len(token) - 1))
    other = draw.draw(st.characters().filter(lambda character: character != token[at]))
    with pytest.raises(Failure) as failure:
        decode_token("ListQueries", token[:at] + other + token[at + 1 :])
    assert failure.value.reason is Reason.INVALID_PAGE_TOKEN


@given(st.text())
def test_what_was_never_given_out_is_refused(token: str) -> None:
    if token:
        with pytest.raises(Failure):
            decode_token("ListQueries", token)


def test_a_token_of_another_list_filter_or_tenant_is_refused() -> None:
    token = encode_token("ListQueries state = RUNNING", [1, "q"])
    for scope in ("ListQueries", "ListQueries state = FAILED", "ListDocuments state = RUNNING"):
        with pytest.raises(Failure):
            decode_token(scope, token)
    with as_tenant("acme"), pytest.raises(Failure):
        decode_token("ListQueries state = RUNNING", token)


def test_a_cut_or_lengthened_token_is_refused() -> None:
    token = encode_token("ListQueries", ["a", 1])
    for wrong in (token[:-1], token + "A", token + "=", " " + token, "A" * 20_000):
        with pytest.raises(Failure):
            decode_token("ListQueries", wrong)
