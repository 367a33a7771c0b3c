"""The text of an author that is run again: readers get each character once, whatever the runs tell.

A run is given what was told before. It may go on behind that; or it tells its text from the first character, and what
was told before must come out of it again, character for character. So two runs' texts never mix unseen, and nothing
that was seen is taken back. How a run cuts its text into deltas does not matter. No I/O.
"""

from __future__ import annotations

from answermesh.errors import Failure, Reason
from answermesh.v1.finding_pb2 import TextDelta


class Retelling:
    """What one author has told over all its runs."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        # What earlier runs told, and how much of the present run's text there is.
        self._known = ""
        self._position = 0

    @property
    def known(self) -> str:
        """What earlier runs told."""
        return self._known

    def begin(self) -> None:
        """Another run begins."""
        self._known = "".join(self._parts)
        self._parts = [self._known]
        self._position = 0

    def recall(self, delta: TextDelta) -> None:
        """Take in text that the journal holds."""
        self._parts.append(delta.text)
        self._length += len(delta.text)
        self._position = self._length

    def add(self, agent: str, delta: TextDelta) -> TextDelta | None:
        """What of a delta is new; None where nothing is.

        Raises Failure(INVALID_CARD) for one that does not follow on the run's text before it, and AGENT_FAILED for one
        that says something else than earlier runs did; nothing of it counts then.
        """
        if self._position == 0 and delta.offset == len(self._known):
            self._position = delta.offset
        start = self._position
        if delta.offset != start:
            raise Failure(
                Reason.INVALID_CARD,
                f"Agent {agent!r} wrote at offset {delta.offset} of an answer of {start} characters; "
                "a delta's offset is the length of all earlier deltas.",
            )
        known = self._known[start : start + len(delta.text)]
        if not delta.text.startswith(known):
            raise Failure(
                Reason.AGENT_FAILED,
                f"Agent {agent!r} broke off, and worded its text differently when it was run again; what was told "
                "before stays, and nothing is added to it.",
            )
        self._position += len(delta.text)
        rest = delta.text[len(known) :]
        if not rest:
            return None
        self._parts.append(rest)
        self._length += len(rest)
        return delta if not known else TextDelta(text=rest, offset=start + len(known))

    def shortfall(self, agent: str) -> Failure | None:
        """Why a run that ended well broke off within what earlier ones had told, if so; without text it adds none."""
        if self._position in (0, len(self._known)) or self._position > len(self._known):
            return None
        return Failure(
            Reason.AGENT_FAILED,
            f"Agent {agent!r} broke off after {len(self._known)} characters, and ended after {self._position} when it "
            "was run again; what was told before stays.",
        )
