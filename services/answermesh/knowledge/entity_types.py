"""The types of entities, by the contract's numbers, for what a reader of files loads.

The contract's own module takes as long to load as all the rest of a reader, which an import waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from answermesh.v1.finding_pb2 import Entity

EntityType: TypeAlias = "Entity.Type.ValueType"

TYPE_PERSON = cast("EntityType", 1)
TYPE_ORGANIZATION = cast("EntityType", 2)
TYPE_LOCATION = cast("EntityType", 3)
TYPE_TIME = cast("EntityType", 4)
TYPE_QUANTITY = cast("EntityType", 5)
TYPE_CODE = cast("EntityType", 6)
TYPE_CONCEPT = cast("EntityType", 7)
