"""Comments of a descriptor set, by full name of what they stand at."""

from __future__ import annotations

from typing import Any

from protobuf import Registry

# Field numbers in descriptor.proto of what may carry a comment: the parts of a file, a message, an enum, a service.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED, _NESTED_ENUMS, _VALUES, _METHODS = 2, 3, 4, 2, 2


def comments(registry: Registry) -> dict[str, str]:
    """Leading, else trailing comments; `package.Message.field` and so on. Empty without source info."""
    found: dict[str, str] = {}
    for desc in registry:
        if type(desc).__name__ == "DescFile":
            _file(desc.proto, found)
    return found


def _file(file: Any, found: dict[str, str]) -> None:
    if file.source_code_info is None:
        return
    told = {
        tuple(location.path): _text(location.leading_comments or location.trailing_comments or "")
        for location in file.source_code_info.location
    }
    package = f"{file.package}." if file.package else ""
    for index, message in enumerate(file.message_type):
        _message(message, (_MESSAGES, index), package, told, found)
    for index, enum in enumerate(file.enum_type):
        _named(enum, enum.value, (_ENUMS, index), _VALUES, package, told, found)
    for index, service in enumerate(file.service):
        _named(service, service.method, (_SERVICES, index), _METHODS, package, told, found)


def _message(
    message: Any, path: tuple[int, ...], prefix: str, told: dict[tuple[int, ...], str], found: dict[str, str]
) -> None:
    _named(message, message.field, path, _FIELDS, prefix, told, found)
    inner = f"{prefix}{message.name}."
    for index, nested in enumerate(message.nested_type):
        _message(nested, (*path, _NESTED, index), inner, told, found)
    for index, enum in enumerate(message.enum_type):
        _named(enum, enum.value, (*path, _NESTED_ENUMS, index), _VALUES, inner, told, found)


def _named(
    thing: Any,
    members: Any,
    path: tuple[int, ...],
    kind: int,
    prefix: str,
    told: dict[tuple[int, ...], str],
    found: dict[str, str],
) -> None:
    """A thing and its members: fields of a message, values of an enum, methods of a service."""
    name = prefix + thing.name
    if text := told.get(path):
        found[name] = text
    for index, member in enumerate(members):
        if text := told.get((*path, kind, index)):
            found[f"{name}.{member.name}"] = text


def _text(comment: str) -> str:
    return "\n".join(line.strip() for line in comment.strip().splitlines())
