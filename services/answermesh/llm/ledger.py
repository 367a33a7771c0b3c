"""The ledger: what the calls of one run cost, one UsageRecord a call that reached a model."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from answermesh.llm.course import Candidate
from answermesh.v1.query_pb2 import UsageRecord

# Where a server tells no usage, or a stream was left early: a token for four bytes, a rule of thumb for English.
_BYTES_PER_TOKEN = 4
# Begins the ids of records whose tokens were estimated so.
ESTIMATED = "estimated-"


class Ledger:
    """Collects the records of one run, until they are taken."""

    def __init__(self) -> None:
        self._records: list[UsageRecord] = []

    def record(self, record: UsageRecord) -> None:
        """Enter a call."""
        self._records.append(record)

    def take(self) -> list[UsageRecord]:
        """The records entered since the last take."""
        taken, self._records = self._records, []
        return taken


@dataclass(slots=True)
class Usage:
    """What one call used, filled in while it goes on."""

    candidate: Candidate
    # All text sent, for the estimate.
    prompt: str
    started_s: float
    ended_s: float = 0.0
    text: list[str] = field(default_factory=list)
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None

    def record(self) -> UsageRecord:
        """As entered in the ledger."""
        is_told = self.input_tokens is not None and self.output_tokens is not None
        input_tokens = _estimate(self.prompt) if self.input_tokens is None else self.input_tokens
        output_tokens = _estimate("".join(self.text)) if self.output_tokens is None else self.output_tokens
        provider = self.candidate.provider
        duration = Duration()
        duration.FromNanoseconds(int((self.ended_s - self.started_s) * 1e9))
        return UsageRecord(
            id=("" if is_told else ESTIMATED) + uuid.uuid4().hex,
            provider=provider.name,
            model=self.candidate.model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            # A price per million tokens is the price of one token in millionths.
            cost_micros=round(
                input_tokens * provider.price_per_million_input + output_tokens * provider.price_per_million_output
            ),
            duration=duration,
        )


def from_cache(record: UsageRecord) -> UsageRecord:
    """The record of a call that got the answer of another one: the same tokens, at no cost and in no time."""
    copy = UsageRecord()
    copy.CopyFrom(record)
    copy.id = (ESTIMATED if record.id.startswith(ESTIMATED) else "") + uuid.uuid4().hex
    copy.cost_micros = 0
    copy.cached = True
    copy.ClearField("duration")
    return copy


def _estimate(text: str) -> int:
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)
