"""What the models said lately, by row: two agents that check the same sentence, or a question asked again, cost one
run.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from answermesh.models.encoder import Row
from answermesh.models.queue import Lane

# Results kept: 1.5 kB each at most, so some megabytes.
ROWS = 4096

Key = tuple[Lane, bytes, bytes]


class Memory:
    """The latest results for queries and pairs: a document's texts are embedded once, and would take their place."""

    def __init__(self, rows: int = ROWS) -> None:
        self._limit = rows
        self._results: OrderedDict[Key, NDArray[np.float32]] = OrderedDict()

    def get(self, key: Key) -> NDArray[np.float32] | None:
        """The result of such a row; None for one that is not known any more."""
        if (found := self._results.get(key)) is not None:
            self._results.move_to_end(key)
        return found

    def put(self, key: Key, result: NDArray[np.float32]) -> None:
        """Keep a result, in the place of the one that was used longest ago."""
        if key[0] is Lane.DOCUMENT:
            return
        self._results[key] = result
        if len(self._results) > self._limit:
            self._results.popitem(last=False)


def key_of(lane: Lane, row: Row) -> Key:
    """What equal rows of a lane have in common."""
    return lane, row.ids.tobytes(), row.type_ids.tobytes()
