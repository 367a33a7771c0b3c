"""What kind of file it is: by the type that was given, by its first bytes, by its name, in this order."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath

from answermesh.knowledge.blocks import UnreadableError

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
JSON = "application/json"
JSONL = "application/jsonl"
CSV = "text/csv"
TSV = "text/tab-separated-values"
MARKDOWN = "text/markdown"
TEXT = "text/plain"

READABLE = "text, Markdown, HTML, PDF, DOCX, JSON, JSONL, CSV and TSV"

_BY_EXTENSION = {
    "txt": TEXT, "text": TEXT, "log": TEXT, "rst": TEXT, "adoc": TEXT, "tex": TEXT, "md": MARKDOWN, "markdown":
    MARKDOWN, "mdx": MARKDOWN,
    "html": HTML, "htm": HTML, "xhtml": HTML, "pdf": PDF, "docx": DOCX,
    "json": JSON, "jsonl": JSONL, "ndjson": JSONL, "csv": CSV, "tsv": TSV,
}  # fmt: skip
_SAME = {
    "text/x-markdown": MARKDOWN, "application/x-ndjson": JSONL, "application/ndjson": JSONL, "application/jsonlines":
    JSONL,
    "application/x-jsonlines": JSONL, "application/xhtml+xml": HTML, "application/x-pdf": PDF, "application/csv": CSV,
}  # fmt: skip
_KNOWN = {TEXT, MARKDOWN, HTML, PDF, DOCX, JSON, JSONL, CSV, TSV}
# Old Office files, and encrypted new ones, are both of this form.
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
# A PDF's header may stand behind some other bytes (ISO 32000-1, note 13 of annex H: within the first 1024).
_PDF_HEADER_WITHIN = 1024


def detect(content: bytes, name: str, given: str = "") -> str:
    """The media type, one of those that are read. Raises UnreadableError for all others."""
    wanted = given.partition(";")[0].strip().lower()
    wanted = _SAME.get(wanted, wanted)
    if wanted in ("application/octet-stream", "binary/octet-stream"):
        wanted = ""
    if wanted and wanted not in _KNOWN:
        raise UnreadableError(f"is of the media type {given!r}, which is not read; {READABLE} are.")
    extension = PurePosixPath(name.partition("?")[0]).suffix.lower().removeprefix(".")
    wanted = wanted or _BY_EXTENSION.get(extension, "")
    found = _by_content(content)
    if wanted in (PDF, DOCX) or found in (PDF, DOCX):
        if wanted and found and wanted != found and wanted in (PDF, DOCX):
            raise UnreadableError(
                f"is named a {_short(wanted)} file but is a {_short(found)} file; name it as what it is."
            )
        if wanted in (PDF, DOCX) and not found:
            raise UnreadableError(
                f"is named a {_short(wanted)} file but does not begin as one; it may be truncated or renamed."
            )
        return found
    if not wanted and not _looks_like_text(content):
        raise UnreadableError(f"is of a kind that is not read (extension {extension[:20]!r}); {READABLE} are.")
    return wanted or found or TEXT


def _by_content(content: bytes) -> str:
    start = content[:_PDF_HEADER_WITHIN]
    if b"%PDF-" in start:
        return PDF
    if start.startswith(_COMPOUND_FILE):
        raise UnreadableError(
            "is an encrypted or an old (before 2007) Office file; save it as DOCX without a password."
        )
    if start.startswith(_ZIP):
        return _in_zip(content)
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return HTML if head.startswith((b"<!doctype html", b"<html")) else ""


def _in_zip(content: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UnreadableError("is a damaged or truncated archive; send it again.") from error
    if "word/document.xml" in names:
        return DOCX
    raise UnreadableError(f"is an archive that is no DOCX file; unpack it first ({READABLE} are read).")


def _looks_like_text(content: bytes) -> bool:
    """Whether hardly any of the first bytes are control characters; a UTF-16 mark counts as text as well."""
    start = content[:4096]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in start)
    return b"\0" not in start and odd * 50 <= len(start)


def _short(media_type: str) -> str:
    return {PDF: "PDF", DOCX: "DOCX", HTML: "HTML"}.get(media_type, media_type)
