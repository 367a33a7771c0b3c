"""Parameters of an operation, as OpenAPI writes them: of the path, and of the query."""

from __future__ import annotations

from collections.abc import Iterator

from protobuf import (
    DescField,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescMessage,
)

from answermesh.gateway.openapi.schemas import JSON_VALUES, Json, Schemas, behaviors
from answermesh.gateway.plan import Binding
from answermesh.gateway.transcoding.fields import FieldPathError, field_encoder, find_field

# Nested fields are listed down to this depth, and none of a message within itself; deeper ones work, but would bury the
# others.
_DEPTH = 3


def path_parameters(binding: Binding, of_url: list[Json], schemas: Schemas, told: dict[str, str]) -> list[Json]:
    """One for each `{…}` of the path."""
    # Names in a URL have no dots, which client generators take badly.
    field_paths: dict[str, str] = {path.replace(".", "_"): path for path in binding.request.variables}
    parameters = []
    for parameter in of_url:
        name: str = parameter["name"]
        wild: bool = parameter["wild"]
        field = _at(binding.method.input, field_paths.get(name, name))
        schema: Json = schemas.value(field) if field is not None and not wild else {"type": "string"}
        entry: Json = {"name": name, "in": "path", "required": True, "schema": schema}
        text = told.get(f"{field.parent.type_name}.{field.name}", "") if field is not None else ""
        if wild:
            text = f"{text} May hold slashes.".strip()
            entry["x-multi-segment"] = True
        if text:
            entry["description"] = text
        parameters.append(entry)
    return parameters


def query_parameters(binding: Binding, schemas: Schemas) -> list[Json]:
    """One for each field that neither path nor body sets."""
    message = binding.method.input
    return [
        schemas.parameter(f"{message.type_name}.{names}", _query_parameter(path, field, schemas))
        for path, names, field in _leaves(message, "", "", (message.type_name,))
        if names not in binding.request.variables and names.partition(".")[0] != binding.rule.body
    ]


def _query_parameter(path: str, field: DescField, schemas: Schemas) -> Json:
    described = schemas.field(field)
    entry: Json = {"name": path, "in": "query", "schema": schemas.value(field)}
    if "description" in described:
        entry["description"] = described["description"]
    if described.get("deprecated"):
        entry["deprecated"] = True
    if isinstance(field.value, DescFieldValueMessage) and field.value.message.type_name in JSON_VALUES:
        entry["content"] = {"application/json": {"schema": entry.pop("schema")}}
    if isinstance(field.value, DescFieldValueMap):
        entry |= {"style": "deepObject", "explode": True}
    if "." not in path and "REQUIRED" in behaviors(field):
        entry["required"] = True
    return entry


def _leaves(
    message: DescMessage, prefix: str, names: str, around: tuple[str, ...]
) -> Iterator[tuple[str, str, DescField]]:
    """Fields that a query parameter can set, by JSON and by proto names; `around` are the messages that hold them."""
    for field in message.fields:
        path, named, value = prefix + field.json_name, names + field.name, field.value
        if isinstance(value, DescFieldValueMap):
            if not isinstance(value.value, DescMessage):
                yield path, named, field
        elif isinstance(value, DescFieldValueMessage | DescFieldValueList) and not _is_text(message, field):
            if isinstance(value, DescFieldValueMessage) and len(around) < _DEPTH:
                inner = value.message
                if inner.type_name not in around:
                    yield from _leaves(inner, f"{path}.", f"{named}.", (*around, inner.type_name))
        else:
            yield path, named, field


def _is_text(message: DescMessage, field: DescField) -> bool:
    try:
        field_encoder(message, field.name)
    except FieldPathError:
        return False
    return True


def _at(message: DescMessage, path: str) -> DescField | None:
    field: DescField | None = None
    for name in path.split("."):
        field = find_field(message, name)
        if field is None:
            return None
        if isinstance(field.value, DescFieldValueMessage):
            message = field.value.message
    return field
