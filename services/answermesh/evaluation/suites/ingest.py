"""Ingest: whether files are read, how fast, and whether headings, links and code survive."""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from answermesh.client import Client
from answermesh.errors import Failure, Reason
from answermesh.evaluation.suite import Item, Outcome, Record, Task

_FENCE = re.compile(r"^(```+|~~~+)[^\n]*\n(.*?)^\1", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\[\]\n]{1,200})\]\([^()\s]+\)")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
# What a mesh says of a file that it does not take.
_REFUSED = (Reason.UNREADABLE_DOCUMENT, Reason.INVALID_FIELD, Reason.TOO_LARGE)
_MARKDOWN = {".md", ".markdown", ".mdx"}


class Ingest:
    """Archives (`*.tar.gz`) of files of any type, in a folder of sets."""

    name = "ingest"
    about = "Files imported one by one: whether they are read, how fast, and what of their structure is kept."
    headline = ("read", "headings kept", "code kept", "links kept", "files/s", "kB/s")

    def tasks(self, folder: Path) -> Iterable[Task]:
        for one in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
            for archive in sorted(one.glob("*.tar.gz")):
                with tarfile.open(archive) as files:
                    names = sorted(member.name for member in files if member.isfile())
                rows = [Item(name, {"archive": str(archive), "member": name}) for name in names]
                yield Task(archive.name.removesuffix(".tar.gz"), rows)

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        content = _content(item.row["archive"], item.row["member"])
        details = {"file": item.id, "bytes": len(content)}
        started_s = time.perf_counter()
        try:
            document = await mesh.create_document(f"{task.name}/{item.id}", content)
        except Failure as failure:
            if failure.reason not in _REFUSED:
                raise
            return Outcome({"read": 0.0}, {**details, "why": failure.message})
        took_s = time.perf_counter() - started_s
        text = (await mesh.get_document(document.name, full=True)).text
        metrics = {"read": 1.0, "import s": took_s, "passages": float(document.passage_count)}
        if PurePosixPath(item.id).suffix.lower() in _MARKDOWN:
            metrics |= kept(content.decode("utf-8", "replace"), text)
        return Outcome(metrics, details)

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        took_s = sum(record.metrics.get("import s", 0.0) for record in records)
        if not took_s:
            return {}
        done = [record for record in records if record.metrics.get("read")]
        return {
            "files/s": len(done) / took_s,
            "kB/s": sum(record.details["bytes"] for record in done) / took_s / 1000,
        }


def kept(source: str, text: str) -> dict[str, float]:
    """Shares of a Markdown file's headings, code blocks and links whose words are in the document's text."""
    source = _FRONT_MATTER.sub("", source.replace("\r\n", "\n"))
    code = [match[2] for match in _FENCE.finditer(source)]
    prose = _FENCE.sub("", source)
    squeezed = _squeezed(text)
    found = {
        "headings kept": [match[1] for match in _HEADING.finditer(prose)],
        "code kept": [block for block in code if block.strip()],
        "links kept": [match[1] for match in _LINK.finditer(prose)],
    }
    return {
        name: sum(_squeezed(piece) in squeezed for piece in pieces) / len(pieces)
        for name, pieces in found.items()
        if pieces
    }


def _squeezed(text: str) -> str:
    """Letters and digits alone: marks and white space are the reader's to change."""
    return "".join(filter(str.isalnum, text))


def _content(archive: str, member: str) -> bytes:
    with tarfile.open(archive) as files:
        opened = files.extractfile(member)
        assert opened is not None
        return opened.read()
