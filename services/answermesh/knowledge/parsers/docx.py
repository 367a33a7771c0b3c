"""DOCX: paragraphs, headings, lists and tables in their order."""

from __future__ import annotations

import io
import re
import zipfile

from docx import Document
from docx.table import Table
from lxml.etree import XMLSyntaxError

from answermesh.knowledge.blocks import Kind, Parsed, UnreadableError, Writer
from answermesh.knowledge.parsers.decoding import clean

_LEVEL = re.compile(r"heading (\d)", re.IGNORECASE)
# Uncompressed size that is read: beyond it the file is an archive bomb rather than a text.
_MAX_UNPACKED_BYTES = 512 << 20


def parse(content: bytes, name: str) -> Parsed:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked_bytes = sum(entry.file_size for entry in archive.infolist())
        if unpacked_bytes > _MAX_UNPACKED_BYTES:
            limit_mib = _MAX_UNPACKED_BYTES >> 20
            raise UnreadableError(f"unpacks to {unpacked_bytes >> 20} MiB; {limit_mib} MiB are read at most. Split it.")
        return _read(content)
    except (
        zipfile.BadZipFile,
        XMLSyntaxError,
        KeyError,
        ValueError,
        AttributeError,
        OSError,
        NotImplementedError,
    ) as error:
        raise UnreadableError("is a damaged or truncated DOCX file; send it again, or save it anew.") from error


def _read(content: bytes) -> Parsed:
    document = Document(io.BytesIO(content))
    writer = Writer()
    first_heading = ""
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            rows = (" | ".join(dict.fromkeys(" ".join(cell.text.split()) for cell in row.cells)) for row in item.rows)
            writer.add(clean("\n".join(rows)), Kind.TABLE)
            continue
        style = (item.style.name if item.style is not None else "") or ""
        level = _LEVEL.match(style)
        text = clean(item.text)
        if level or style == "Title":
            writer.add_heading(text, int(level[1]) if level else 0)
            first_heading = first_heading or text
        elif style.startswith("List"):
            writer.add(f"- {text}" if text.strip() else "", Kind.ITEM, tight=True)
        else:
            writer.add(text, Kind.TEXT)
    return writer.parsed(clean(document.core_properties.title or "") or first_heading)
