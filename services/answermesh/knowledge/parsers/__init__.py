"""Files as text: one parser for each kind of file, chosen by name and content.

Runs in a worker process (see knowledge.pool), since a file may be made to exhaust whoever reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from answermesh.knowledge.blocks import Parsed, UnreadableError
from answermesh.knowledge.parsers.media_type import detect

# A parser is a module with `parse(content, name) -> Parsed`, imported at first use: most workers meet few kinds of
# files.
_MODULES = {
    "text/plain": "plain",
    "text/markdown": "markdown",
    "text/html": "html",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/json": "records",
    "application/jsonl": "records",
    "text/csv": "table",
    "text/tab-separated-values": "table",
}


def parse(content: bytes, name: str, media_type: str = "") -> tuple[str, Parsed]:
    """The media type of a file and what it says; `name` is its uri or file name, `media_type` is given or "".

    Raises UnreadableError for a file that is empty, damaged, encrypted, without text, or of a kind that nobody reads.
    """
    if not content:
        raise UnreadableError("is empty; send its content.")
    kind = detect(content, name, media_type)
    module = import_module(f"answermesh.knowledge.parsers.{_MODULES[kind]}")
    parser: Callable[[bytes, str], Parsed] = module.parse
    try:
        parsed = parser(content, name)
    except RecursionError as error:
        raise UnreadableError("is nested too deeply to be read; flatten it.") from error
    if not parsed.text.strip():
        raise UnreadableError("holds no text; if it is a scan or a picture, run text recognition (OCR) first.")
    return kind, parsed
