"""PDF: the text of each page, with its page number."""

from __future__ import annotations

import io
import re

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from answermesh.knowledge.blocks import Kind, Parsed, UnreadableError, Writer
from answermesh.knowledge.parsers.decoding import clean

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_DAMAGED = "is a damaged or truncated PDF file; send it again, or save it anew."


def parse(content: bytes, name: str) -> Parsed:
    try:
        reader = PdfReader(io.BytesIO(content))
        # Many files are encrypted with an empty password, only to forbid printing.
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("is encrypted; remove its password first.")
        writer = Writer()
        for number, page in enumerate(reader.pages, start=1):
            writer.page = number
            for paragraph in _PARAGRAPH.split(clean(page.extract_text())):
                writer.add(paragraph, Kind.TEXT)
        title = reader.metadata.title if reader.metadata else ""
        return writer.parsed(clean(str(title or "")))
    except UnreadableError:
        raise
    except (
        PyPdfError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        AssertionError,
        OSError,
        NotImplementedError,
    ) as error:
        # pypdf lets all of these through on files that break the format.
        raise UnreadableError(_DAMAGED) from error
