"""Plain text: the text is the file's own, and its blocks are the paragraphs."""

from __future__ import annotations

import re

from answermesh.knowledge.blocks import Block, Kind, Parsed
from answermesh.knowledge.parsers.decoding import decode

_BREAK = re.compile(r"\n[ \t\r\f]*\n\s*")


def parse(content: bytes, name: str) -> Parsed:
    text = decode(content)
    starts = [0, *(match.end() for match in _BREAK.finditer(text) if match.end() < len(text))]
    return Parsed(text, "", tuple(Block(start, Kind.TEXT) for start in starts))
