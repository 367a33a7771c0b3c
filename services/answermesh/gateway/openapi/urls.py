"""Path templates as OpenAPI writes them, where a parameter is one segment.

`/v1/{name=queries/*}:watch` becomes `/v1/queries/{query}:watch`: the names come from the patterns of
google.api.resource where there is one for these literals, else from the literal before. Paths that differ only in the
names of their parameters are one path in OpenAPI, so the first one's names are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from google.api import resource_pb2
from google.protobuf import descriptor_pb2
from protobuf import Registry

from answermesh.gateway.openapi.schemas import Json
from answermesh.gateway.plan import Binding
from answermesh.gateway.routing.template import Template, parse

_NAMED = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Url:
    """A path and its parameters, as `name` and whether it may hold slashes."""

    text: str
    parameters: list[Json]


def resource_patterns(registry: Registry) -> dict[str, list[str]]:
    """Names of the variables of each resource pattern, by the pattern with `*` for variables."""
    patterns: dict[str, list[str]] = {}
    for desc in registry:
        if type(desc).__name__ != "DescMessage" or desc.proto.options is None:
            continue
        options = descriptor_pb2.MessageOptions.FromString(desc.proto.options.to_binary())
        extensions: Any = options.Extensions  # the stub types extensions by a class that generated code does not have
        for pattern in extensions[resource_pb2.resource].pattern:
            patterns.setdefault(_NAMED.sub("*", pattern), _NAMED.findall(pattern))
    return patterns


class Urls:
    """Gives each binding its path, the same parameter names for the same shape."""

    def __init__(self, patterns: dict[str, list[str]]) -> None:
        self._patterns = patterns
        self._names: dict[str, list[str]] = {}

    def of(self, binding: Binding) -> Url:
        """The path of a binding."""
        template = parse(binding.rule.template)
        shape = "/".join("{}" if "*" in segment else segment for segment in template.segments) + f":{template.verb}"
        names = self._names.setdefault(shape, self._segment_names(template))
        left = iter(names)
        parts = [f"{{{next(left)}}}" if "*" in segment else segment for segment in template.segments]
        text = "/" + "/".join(parts) + (f":{template.verb}" if template.verb else "")
        wild = [segment == "**" for segment in template.segments if "*" in segment]
        return Url(text, [{"name": name, "wild": is_wild} for name, is_wild in zip(names, wild, strict=True)])

    def _segment_names(self, template: Template) -> list[str]:
        chosen: dict[int, str] = {}
        for variable in template.variables:
            end = variable.end if variable.end is not None else len(template.segments)
            places = [at for at in range(variable.start, end) if "*" in template.segments[at]]
            pattern = "/".join(template.segments[variable.start : end])
            known = self._patterns.get(pattern)
            for order, at in enumerate(places):
                if known is not None:
                    chosen[at] = known[order]
                elif end - variable.start == 1:
                    chosen[at] = variable.field_path
                else:
                    chosen[at] = f"{template.segments[at - 1]}_id"
        names: list[str] = []
        for at, segment in enumerate(template.segments):
            if "*" in segment:
                name = re.sub(r"[^A-Za-z0-9_]", "_", chosen.get(at, f"segment_{at}"))
                names.append(name if name not in names else f"{name}_{at}")
        return names
