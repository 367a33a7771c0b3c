"""The language models of an agent: opened and closed with it, and each call billed to the run that made it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from answermesh.config import Settings
from answermesh.llm import LanguageModels, Ledger
from answermesh.v1.query_pb2 import UsageRecord


@asynccontextmanager
async def open_llm(settings: Settings) -> AsyncIterator[LanguageModels | None]:
    """The configured language models; None where there are none."""
    llm = LanguageModels.from_settings(settings)
    try:
        yield llm
    finally:
        if llm is not None:
            await llm.aclose()


class Bill(Ledger):
    """Passes the records of one call on to the run's ledger, and remembers which model it was that answered.

    The preferred model may have failed and another have taken over; only the record tells.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._run = ledger
        # Empty until the call has ended.
        self.model = ""

    def record(self, record: UsageRecord) -> None:
        self.model = record.model
        self._run.record(record)
