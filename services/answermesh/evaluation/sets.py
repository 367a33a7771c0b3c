"""The folders that questions and documents come from, and the shapes of their files.

A set is a folder with `corpus.jsonl` and `queries.jsonl`, or `claims.jsonl`, each perhaps with `.gz`; one JSON object a
line:

    corpus    {id, text, title?}; a field that is true for some rows names a smaller corpus, see `pools`
    queries   {id, text, gold_ids, qrels?, answers?, answerable?, type?}
    claims    {id, claim, label, evidence: [text, …]}

A folder may be such a set, or hold several.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from answermesh.errors import invalid_field
from answermesh.evaluation.suite import Corpus, Item, Source

_KEY_CHARS = 10


def sets(folder: Path, *names: str) -> Iterator[Path]:
    """The sets of a folder that have all these files, by name."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    for one in (folder, *inner):
        if all(file(one, name) for name in names):
            yield one


def file(folder: Path, name: str) -> Path | None:
    """The file of that name, plain or gzipped."""
    for path in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if path.is_file():
            return path
    return None


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The objects of a file. Raises Failure(INVALID_FIELD) naming the line that is none, or has no id."""
    path = file(folder, name)
    if path is None:
        return []
    found: list[dict[str, Any]] = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                found.append({**row, "id": str(row["id"])})
            except (ValueError, KeyError, TypeError) as error:
                raise invalid_field("data", f"line {number} of {path} is no object with an id: {error}.") from error
    return found


def items(folder: Path, name: str) -> list[Item]:
    """The rows of a file as items."""
    return [Item(row["id"], row) for row in rows(folder, name)]


def unseen(found: Iterable[Item]) -> list[Item]:
    """Items whose answers the reader that answermesh ships has not learnt."""
    return [item for item in found if str(item.row.get("context_id", "")).split("#")[0] not in trained_on()]


@cache
def trained_on() -> frozenset[str]:
    """Articles of SQuAD 2.0 whose questions the shipped reader has learnt."""
    text = (files("answermesh.models") / "weights" / "reader.toml").read_text(encoding="utf-8")
    return frozenset(tomllib.loads(text)["trained_on"])


def corpus(folder: Path, *, name: str = "", keep: frozenset[str] | None = None) -> Corpus:
    """The documents of a set, or those of them with an id in `keep`; the uri of each is its id."""
    path = file(folder, "corpus")
    assert path is not None
    digest = hashlib.sha256(path.read_bytes())
    for one in sorted(keep or ()):
        digest.update(one.encode() + b"\0")
    size = len(keep) if keep is not None else len(rows(folder, "corpus"))
    return Corpus(f"{name or folder.name}-{digest.hexdigest()[:_KEY_CHARS]}", partial(_sources, folder, keep), size)


def pools(folder: Path) -> dict[str, frozenset[str]]:
    """Smaller corpora within a set's: for each field of its rows that is true or false, the ids of those with true."""
    found: dict[str, set[str]] = {}
    for row in rows(folder, "corpus"):
        for field, value in row.items():
            if value is True:
                found.setdefault(field, set()).add(row["id"])
    return {field: frozenset(ids) for field, ids in found.items()}


def _sources(folder: Path, keep: frozenset[str] | None) -> Iterable[Source]:
    for row in rows(folder, "corpus"):
        if keep is None or row["id"] in keep:
            yield Source(row["id"], row["text"].encode(), row.get("title", ""), "text/plain")
