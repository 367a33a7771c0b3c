"""PATCH without an update mask: the mask is what the body sets.

AIP-134 lets a server take a missing mask for the fields that are present. The paths go down to the leaves of ordinary
messages; maps, lists and well-known types are one path each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from protobuf import DescFieldValueMessage, DescMessage

from answermesh.gateway.descriptors.schema import Rule
from answermesh.gateway.transcoding.fields import find_field
from answermesh.gateway.transcoding.wire import delimited


class MaskFiller:
    """Makes the fragment of the mask field `number` from a JSON body."""

    def __init__(self, number: int, resource: DescMessage) -> None:
        self.number = number
        self._resource = resource

    def fill(self, body: bytes) -> bytes:
        """The fragment; empty for an empty body."""
        value = orjson.loads(body) if body else None
        if not isinstance(value, dict):
            return b""
        paths = (delimited(1, path.encode()) for path in _paths(self._resource, value, ""))
        return delimited(self.number, b"".join(paths))


def mask_filler(message: DescMessage, rule: Rule) -> MaskFiller | None:
    """A filler, if the rule is a PATCH whose body is a message field beside a field mask `update_mask`."""
    if rule.method != "PATCH" or rule.body in ("", "*"):
        return None
    resource, mask = find_field(message, rule.body), find_field(message, "update_mask")
    if resource is None or mask is None or not isinstance(resource.value, DescFieldValueMessage):
        return None
    if not isinstance(mask.value, DescFieldValueMessage) or mask.value.message.type_name != "google.protobuf.FieldMask":
        return None
    return MaskFiller(mask.number, resource.value.message)


def _paths(message: DescMessage, value: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, member in value.items():
        field = find_field(message, name)
        if field is None:
            continue
        inner = field.value.message if isinstance(field.value, DescFieldValueMessage) else None
        if (
            inner is not None
            and isinstance(member, dict)
            and member
            and not inner.type_name.startswith("google.protobuf.")
        ):
            yield from _paths(inner, member, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
