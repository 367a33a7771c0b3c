"""What an agent's card may say. No I/O."""

from __future__ import annotations

import re

from answermesh.errors import Failure, Field, Reason
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.mesh_pb2 import AgentCard

AGENT_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


def check_card(card: AgentCard, *, agent: str | None = None) -> AgentCard:
    """The card, if it is well formed and, where `agent` is given, that agent's.

    Raises Failure(INVALID_CARD) naming the field.
    """
    if not AGENT_NAME.fullmatch(card.agent):
        what = f"{card.agent!r} is no agent's name; use 1-63 lower-case letters, digits and hyphens, a letter first."
        raise _invalid("card.agent", what)
    if agent is not None and card.agent != agent:
        raise _invalid("card.agent", f"is {card.agent!r}, but the agent there is configured as {agent!r}.")
    if len(card.version) > 64:
        raise _invalid("card.version", f"has {len(card.version)} characters; 64 are allowed.")
    if len(card.description) > 500:
        raise _invalid("card.description", f"has {len(card.description)} characters; 500 are allowed.")
    for index, consumption in enumerate(card.consumes):
        _check_kind(f"card.consumes[{index}].kind", consumption.kind)
    for index, kind in enumerate(card.produces):
        _check_kind(f"card.produces[{index}]", kind)
    if not card.produces:
        raise _invalid("card.produces", "is empty; an agent that finds nothing has no place in a plan.")
    return card


def _check_kind(path: str, kind: int) -> None:
    if kind == Finding.KIND_UNSPECIFIED or kind not in Finding.Kind.values():
        names = ", ".join(Finding.Kind.keys()[1:])
        raise _invalid(path, f"is {kind}, no kind of finding; kinds are {names}.")


def _invalid(path: str, what: str) -> Failure:
    return Failure(Reason.INVALID_CARD, f"{path}: {what}", fields=[Field(path, what)])
