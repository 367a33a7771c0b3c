"""JSON and JSONL: a block for each record, a line `path: value` for each of its values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from answermesh.knowledge.blocks import Kind, Parsed, UnreadableError, Writer
from answermesh.knowledge.parsers.decoding import clean, decode
from answermesh.knowledge.parsers.media_type import JSONL, detect


def parse(content: bytes, name: str) -> Parsed:
    text = decode(content)
    writer = Writer()
    for record in _lines(text) if detect(content, name) == JSONL else _whole(text):
        writer.add(clean("\n".join(_leaves(record))), Kind.ITEM)
    return writer.parsed("")


def _whole(text: str) -> Iterator[object]:
    """The records of one value: the items of a list, the members of an object, or the value itself."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        try:
            # Several values one after the other are JSONL by another name.
            yield from list(_lines(text)) if "\n" in text.strip() and text.strip()[0] in "{[" else [json.loads(text)]
        except (UnreadableError, json.JSONDecodeError):
            raise UnreadableError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
        return
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict) and any(isinstance(member, dict | list) for member in value.values()):
        yield from ({key: member} for key, member in value.items())
    else:
        yield value


def _lines(text: str) -> Iterator[object]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise UnreadableError(f"is not JSONL: {error.msg} in line {number}, column {error.colno}.") from error


def _leaves(value: object, path: str = "") -> Iterable[str]:
    """Lines of all values below `value`; null and empty ones say nothing and are left out."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves(member, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if all(not isinstance(member, dict | list) for member in value):
            yield from _leaves(", ".join(_shown(member) for member in value), path)
        else:
            for index, member in enumerate(value):
                yield from _leaves(member, f"{path}[{index}]")
    elif value is not None and value != "":
        yield f"{path}: {_shown(value)}" if path else _shown(value)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
