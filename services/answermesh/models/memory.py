"""What the models said lately, by row: two agents that check the same sentence, or a question asked again, cost one
run.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from answermesh.models.batching import Lane
from answermesh.models.encoder import Row

# Results kept: 1.5 kB each at most, so some megabytes.
ROWS = 4096

_Key = tuple[Lane, bytes, bytes]


class Memory:
    """The latest results of lanes whose rows run alone: elsewhere a result depends on the row's company."""

    def __init__(self, rows: int = ROWS) -> None:
        self._limit = rows
        self._results: OrderedDict[_Key, NDArray[np.float32]] = OrderedDict()

    def get(self, lane: Lane, row: Row) -> NDArray[np.float32] | None:
        """The result of such a row; None for one that is not known any more."""
        if (found := self._results.get(key := _key(lane, row))) is not None:
            self._results.move_to_end(key)
        return found

    def put(self, lane: Lane, row: Row, result: NDArray[np.float32]) -> None:
        """Keep a result, in the place of the one that was used longest ago."""
        if lane is Lane.DOCUMENT:
            return
        # A copy: a slice would keep its whole batch.
        self._results[_key(lane, row)] = np.array(result)
        if len(self._results) > self._limit:
            self._results.popitem(last=False)


def _key(lane: Lane, row: Row) -> _Key:
    return lane, row.ids.tobytes(), row.type_ids.tobytes()
