"""Which migrations are left, and which histories are refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from answermesh.errors import Failure, Reason
from answermesh.store.migrate import Applied, Migration, pending, shipped

ONE = Migration(1, "first", "CREATE TABLE a ()")
TWO = Migration(2, "second", "CREATE TABLE b ()")
THREE = Migration(3, "third", "CREATE TABLE c ()")


def done(*migrations: Migration) -> list[Applied]:
    return [Applied(migration.number, migration.name, migration.sha256) for migration in migrations]


@pytest.mark.parametrize(
    ("applied", "left"),
    [([], [ONE, TWO, THREE]), (done(ONE), [TWO, THREE]), (done(ONE, TWO, THREE), [])],
)
def test_what_is_not_applied_is_left_in_order(applied: Sequence[Applied], left: list[Migration]) -> None:
    assert pending([ONE, TWO, THREE], applied) == left


@pytest.mark.parametrize(
    ("known", "applied", "complaint"),
    [
        ([ONE, Migration(2, "second", "CREATE TABLE other ()")], done(ONE, TWO), "0002_second was changed after"),
        ([ONE, TWO], done(ONE, TWO, THREE), "newer than this program: it has migration 0003_third"),
        ([ONE, TWO, THREE], done(ONE, THREE), "0002_second is older than 0003"),
    ],
)
def test_a_history_that_is_not_the_beginning_of_ours_is_refused(
    known: list[Migration], applied: list[Applied], complaint: str
) -> None:
    with pytest.raises(Failure, match=complaint) as caught:
        pending(known, applied)
    assert caught.value.reason is Reason.WRONG_STATE


def test_shipped_migrations_rise_and_begin_with_tenancy() -> None:
    numbers = [migration.number for migration in shipped()]
    assert numbers == sorted(numbers)
    assert shipped()[0].name == "tenancy"
