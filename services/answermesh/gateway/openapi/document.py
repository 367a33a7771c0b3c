"""The OpenAPI 3.1 document of a plan: paths, parameters, bodies, answers and errors, with the protos' comments."""

from __future__ import annotations

from answermesh.gateway.descriptors.comments import comments
from answermesh.gateway.openapi.parameters import path_parameters, query_parameters
from answermesh.gateway.openapi.schemas import Json, Schemas
from answermesh.gateway.openapi.urls import Urls, resource_patterns
from answermesh.gateway.plan import Binding, Plan
from answermesh.gateway.transcoding.fields import find_field

# What a path item of OpenAPI 3.1 can hold; rules of other methods are named in `x-methods`.
_METHODS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace"))
_LAST_EVENT_ID: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
    "description": "Id of the last event seen: the stream goes on after it.",
}
_ERROR: Json = {
    "type": "object",
    "description": "An error as AIP-193 has it; a stream that fails after its start ends with one.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
                "message": {"type": "string", "description": "What is wrong and what to do."},
                "status": {"type": "string", "description": "Name of the google.rpc.Code.", "examples": ["NOT_FOUND"]},
                "details": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"@type": {"type": "string"}}},
                    "description": "google.rpc error details, each with its @type.",
                },
            },
        }
    },
}


def document(plan: Plan, server: str = "/") -> Json:
    """The document; `server` is the path that the gateway is mounted at."""
    told = comments(plan.registry)
    schemas = Schemas(told)
    schemas.components["Error"] = _ERROR
    urls = Urls(resource_patterns(plan.registry))
    paths: dict[str, Json] = {}
    operations: set[str] = set()
    bare = [binding for binding in plan.rpcs.values() if not binding.method.rules and not _is_internal(binding)]
    for binding in (*plan.bindings, *bare):
        url = urls.of(binding)
        item = paths.setdefault(url.text, {})
        method = binding.rule.method.lower()
        operation = _operation(binding, url.parameters, schemas, told)
        operation["operationId"] = _unique(binding.method.name.rpartition(".")[2], binding, operations)
        if method in _METHODS:
            item.setdefault(method, operation)
        else:
            item.setdefault("x-methods", {}).setdefault(binding.rule.method, operation)
    services = {binding.method.desc.parent.type_name for binding in (*plan.bindings, *bare)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": ", ".join(sorted({name.rpartition(".")[0] for name in services})) or "No services",
            "version": _version(services),
            "description": "Every method is also served as POST /{package.Service}/{Method} with its request as JSON, "
            "as gRPC-Web and as Connect.",
        },
        "servers": [{"url": server}],
        "tags": [_tag(name, told) for name in sorted(services)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "parameters": dict(sorted(schemas.parameters.items())),
        },
    }


def _is_internal(binding: Binding) -> bool:
    return binding.method.path.startswith(("/grpc.", "/google."))


def _version(services: set[str]) -> str:
    versions = {part for name in services for part in name.split(".") if part[:1] == "v" and part[1:2].isdigit()}
    return ", ".join(sorted(versions)) or "1"


def _tag(service: str, told: dict[str, str]) -> Json:
    return {"name": service, **({"description": told[service]} if service in told else {})}


def _unique(name: str, binding: Binding, taken: set[str]) -> str:
    """Method names repeat over services and bindings; operation ids must not."""
    service = binding.method.desc.parent.name
    candidates = [name, f"{service}_{name}", *(f"{service}_{name}_{count}" for count in range(2, 1000))]
    chosen = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(chosen)
    return chosen


def _operation(binding: Binding, url_parameters: list[Json], schemas: Schemas, told: dict[str, str]) -> Json:
    method, rule = binding.method, binding.rule
    operation: Json = {"tags": [method.desc.parent.type_name]}
    if text := told.get(method.name):
        operation["summary"] = text.partition("\n")[0]
        operation["description"] = text
    if method.desc.deprecated:
        operation["deprecated"] = True
    parameters = path_parameters(binding, url_parameters, schemas, told)
    if rule.body != "*":
        parameters += query_parameters(binding, schemas)
    if binding.resume is not None:
        parameters.append(_LAST_EVENT_ID)
    if parameters:
        operation["parameters"] = parameters
    if rule.body and rule.method not in ("GET", "HEAD", "DELETE"):
        operation["requestBody"] = _body(binding, schemas)
    operation["responses"] = {
        "200": {"description": "The answer.", "content": _answer(binding, schemas)},
        "default": {
            "description": "The call failed.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        },
    }
    return operation


def _body(binding: Binding, schemas: Schemas) -> Json:
    message, rule = binding.method.input, binding.rule
    required = rule.body != "*"
    if binding.request.body.is_raw:
        return {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}, "required": True}
    if rule.body == "*":
        taken = frozenset(path for path in binding.request.variables if "." not in path)
        schema = schemas.request(message, taken)
    else:
        field = find_field(message, rule.body)
        assert field is not None
        inner = getattr(field.value, "message", None)
        schema = schemas.request(inner) if inner is not None else schemas.value(field)
    if binding.method.client_streaming:
        return {
            "content": {
                "application/json": {"schema": {"type": "array", "items": schema}},
                "application/x-ndjson": {"schema": {"type": "string", "description": "One such value a line."}},
            }
        }
    return {"content": {"application/json": {"schema": schema}}, "required": required}


def _answer(binding: Binding, schemas: Schemas) -> Json:
    message, rule = binding.method.output, binding.rule
    if binding.reply.is_raw:
        return {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    if rule.response_body:
        field = find_field(message, rule.response_body)
        assert field is not None
        schema = schemas.value(field)
    else:
        schema = schemas.message(message)
    if not binding.method.server_streaming:
        return {"application/json": {"schema": schema}}
    return {
        "application/json": {"schema": {"type": "array", "items": schema}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One such value a line."}},
        "text/event-stream": {"schema": {"type": "string", "description": "One such value an event's data."}},
    }
