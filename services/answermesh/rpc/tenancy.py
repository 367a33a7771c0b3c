"""The tenant of a call: a ContextVar, set by the server when the call arrives, read by the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

DEFAULT_TENANT = "default"

_tenant: ContextVar[str] = ContextVar("answermesh_tenant", default=DEFAULT_TENANT)


def current_tenant() -> str:
    """The tenant that the running call belongs to; "default" unless set."""
    return _tenant.get()


def enter(tenant: str) -> None:
    """Set the tenant of the running task for good: what the server does when a call arrives."""
    _tenant.set(tenant)


@contextmanager
def as_tenant(tenant: str) -> Iterator[None]:
    """Work for `tenant` within: for work that no call brought, such as a query taken from the queue."""
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)
