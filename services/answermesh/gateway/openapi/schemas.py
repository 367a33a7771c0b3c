"""JSON Schema (as OpenAPI 3.1 uses it) of messages, as ProtoJSON prints and reads them."""

from __future__ import annotations

from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2
from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    ScalarType,
)

Json = dict[str, Any]

_INT32: Json = {"type": "integer", "format": "int32"}
_UINT32: Json = {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**32 - 1}
# 64-bit numbers are strings, since JavaScript's numbers do not hold them.
_INT64: Json = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_UINT64: Json = {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"}
# Either alphabet, with padding or without, as ProtoJSON reads it.
_BYTES: Json = {
    "type": "string",
    "contentEncoding": "base64",
    "pattern": "^([A-Za-z0-9+/_-]{4})*([A-Za-z0-9+/_-]{2}(==)?|[A-Za-z0-9+/_-]{3}=?)?$",
}
_FLOAT: Json = {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38}
_NO_NUMBERS: Json = {"enum": ["NaN", "Infinity", "-Infinity"]}
_SCALARS: dict[ScalarType, Json] = {
    ScalarType.INT32: _INT32,
    ScalarType.SINT32: _INT32,
    ScalarType.SFIXED32: _INT32,
    ScalarType.UINT32: _UINT32,
    ScalarType.FIXED32: _UINT32,
    ScalarType.INT64: _INT64,
    ScalarType.SINT64: _INT64,
    ScalarType.SFIXED64: _INT64,
    ScalarType.UINT64: _UINT64,
    ScalarType.FIXED64: _UINT64,
    ScalarType.FLOAT: {"oneOf": [_FLOAT, _NO_NUMBERS], "format": "float"},
    ScalarType.DOUBLE: {"oneOf": [{"type": "number"}, _NO_NUMBERS], "format": "double"},
    ScalarType.BOOL: {"type": "boolean"},
    ScalarType.STRING: {"type": "string"},
    ScalarType.BYTES: _BYTES,
}
# What a map's keys look like, which in JSON are all strings.
_KEYS: dict[ScalarType, Json] = {
    ScalarType.BOOL: {"enum": ["true", "false"]},
    **{scalar: {"pattern": "^-?[0-9]{1,10}$"} for scalar, schema in _SCALARS.items() if schema is _INT32},
    **{scalar: {"pattern": "^[0-9]{1,10}$"} for scalar, schema in _SCALARS.items() if schema is _UINT32},
    **{scalar: {"pattern": schema["pattern"]} for scalar, schema in _SCALARS.items() if schema in (_INT64, _UINT64)},
}
_WELL_KNOWN: dict[str, Json] = {
    "Timestamp": {"type": "string", "format": "date-time"},
    "Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$", "examples": ["1.500s"]},
    "FieldMask": {"type": "string", "examples": ["name,address.city"]},
    "Struct": {"type": "object"},
    "Value": {},
    "ListValue": {"type": "array", "items": {}},
    "Empty": {"type": "object", "additionalProperties": False},
    "Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "additionalProperties": True},
    "DoubleValue": _SCALARS[ScalarType.DOUBLE],
    "FloatValue": _SCALARS[ScalarType.FLOAT],
    "Int64Value": _INT64,
    "UInt64Value": _UINT64,
    "Int32Value": _INT32,
    "UInt32Value": _UINT32,
    "BoolValue": {"type": "boolean"},
    "StringValue": {"type": "string"},
    "BytesValue": _BYTES,
}
# Messages whose JSON is any value, which a query parameter holds as JSON text.
JSON_VALUES = frozenset(f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue"))


class Schemas:
    """Gathers the schemas and the parameters that others refer to."""

    def __init__(self, told: dict[str, str]) -> None:
        self._told = told
        self.components: dict[str, Json] = {}
        self.parameters: dict[str, Json] = {}

    def parameter(self, name: str, entry: Json) -> Json:
        """A reference to a parameter, which several operations of one message share."""
        self.parameters[name] = entry
        return {"$ref": f"#/components/parameters/{name}"}

    def message(self, message: DescMessage) -> Json:
        """A schema or a reference."""
        package, _, name = message.type_name.rpartition(".")
        if package == "google.protobuf" and name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[name])
        if message.type_name == "google.api.HttpBody":
            return {"type": "string", "format": "binary"}
        if message.type_name not in self.components:
            # First of all, since it may refer to itself.
            self.components[message.type_name] = {}
            self.components[message.type_name] = self.object(message, frozenset())
        return {"$ref": f"#/components/schemas/{message.type_name}"}

    def object(self, message: DescMessage, without: frozenset[str]) -> Json:
        """The message's own schema, without the fields named."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Json = {
            "type": "object",
            "properties": {field.json_name: self.field(field) for field in fields},
            "additionalProperties": False,
        }
        self._describe(schema, message.type_name, message.deprecated)
        return schema

    def request(self, message: DescMessage, without: frozenset[str] = frozenset()) -> Json:
        """The message as a request's body: what is required is so there alone, for an answer leaves defaults out."""
        schema = self.object(message, without) if without else self.message(message)
        required = [
            field.json_name for field in message.fields if field.name not in without and "REQUIRED" in behaviors(field)
        ]
        return schema | {"required": required} if required else schema

    def field(self, field: DescField) -> Json:
        """A field with its comment and behaviour."""
        schema = self.value(field)
        self._describe(schema, f"{field.parent.type_name}.{field.name}", field.deprecated)
        told = behaviors(field)
        if "REQUIRED" in told:
            schema["description"] = f"{schema.get('description', '')} Required in requests.".strip()
        if "OUTPUT_ONLY" in told:
            schema["readOnly"] = True
        if "INPUT_ONLY" in told:
            schema["writeOnly"] = True
        return schema

    def value(self, field: DescField) -> Json:
        """A field's value, without comment."""
        match field.value:
            case DescFieldValueScalar(scalar=scalar):
                return dict(_SCALARS[scalar])
            case DescFieldValueEnum(enum=enum):
                return self.enum(enum)
            case DescFieldValueMessage(message=message):
                return self.message(message)
            case DescFieldValueList(element=element):
                return {"type": "array", "items": self._element(element)}
            case DescFieldValueMap(key=key, value=value):
                schema = {"type": "object", "additionalProperties": self._element(value)}
                return schema | {"propertyNames": _KEYS[key]} if key in _KEYS else schema
        raise AssertionError(field)

    def enum(self, enum: DescEnum) -> Json:
        """A reference to an enum; its values' comments stand in its description."""
        if enum.type_name == "google.protobuf.NullValue":
            return {"type": "null"}
        if enum.type_name not in self.components:
            schema: Json = {"type": "string", "enum": [value.name for value in enum.values]}
            lines = [self._told.get(enum.type_name, "")]
            told = {value.name: self._told.get(f"{enum.type_name}.{value.name}") for value in enum.values}
            lines += [f"- `{name}`: {text}" for name, text in told.items() if text]
            if any(lines):
                schema["description"] = "\n".join(lines).strip()
            self.components[enum.type_name] = schema
        return {"$ref": f"#/components/schemas/{enum.type_name}"}

    def _element(self, element: ScalarType | DescEnum | DescMessage) -> Json:
        if isinstance(element, DescMessage):
            return self.message(element)
        if isinstance(element, DescEnum):
            return self.enum(element)
        return dict(_SCALARS[element])

    def _describe(self, schema: Json, name: str, deprecated: bool) -> None:
        if text := self._told.get(name):
            schema["description"] = text
        if deprecated:
            schema["deprecated"] = True


def behaviors(field: DescField) -> set[str]:
    """Names of google.api.field_behavior."""
    if field.proto.options is None:
        return set()
    options = descriptor_pb2.FieldOptions.FromString(field.proto.options.to_binary())
    extensions: Any = options.Extensions  # the stub types extensions by a class that generated code does not have
    told = extensions[field_behavior_pb2.field_behavior]
    return {field_behavior_pb2.FieldBehavior.Name(value) for value in told}
