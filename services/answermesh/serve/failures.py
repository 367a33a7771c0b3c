"""The one failure that a group of tasks is told by."""

from __future__ import annotations

from answermesh.errors import Failure


def first_failure(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first Failure within nested groups, or else the first error that is one."""
    causes = list(_leaves(errors))
    return next((cause for cause in causes if isinstance(cause, Failure)), causes[0])


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in errors.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves
