"""Which of the passages found stand side by side in a document, and are shown as one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Passages that are joined at most: some 2700 characters, which a reader still takes in at once.
MAX_JOINED = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands: `ordinal` counts the passages of its document."""

    document_id: str
    ordinal: int


def joined(ranked: Sequence[Place], limit: int) -> list[list[int]]:
    """At most `limit` groups of positions in `ranked`, by their best member; each group side by side, in text order.

    Passages are taken best first; one that borders on a group that has room joins it, wherever it ranks itself.
    """
    at = {(one.document_id, one.ordinal): position for position, one in enumerate(ranked)}
    groups: list[list[int]] = []
    taken: set[int] = set()
    for position, place in enumerate(ranked):
        if position in taken:
            continue
        if len(groups) == limit:
            break
        group = [position]
        while len(group) < MAX_JOINED:
            ordinals = [ranked[one].ordinal for one in group]
            beside = [at.get((place.document_id, o)) for o in (min(ordinals) - 1, max(ordinals) + 1)]
            # The better one first; only what ranks within the limit itself: a neighbour must be worth its place.
            near = [one for one in beside if one is not None and one not in taken and one < limit]
            if not near:
                break
            group.append(min(near))
        taken.update(group)
        groups.append(sorted(group, key=lambda one: ranked[one].ordinal))
    return groups
