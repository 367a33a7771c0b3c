"""The manifest of model files: complete, and free of addresses."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from answermesh.errors import Failure, Reason
from answermesh.models.manifest import EMBEDDED, LOCAL_LLM, ModelFile, model_file, model_files


@pytest.mark.parametrize("file", model_files().values(), ids=lambda file: file.name)
def test_a_file_tells_its_hash_size_licence_and_origin(file: ModelFile) -> None:
    assert re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert file.size_bytes > 0
    assert file.licence in ("MIT", "Apache-2.0")
    assert file.attribution
    assert re.fullmatch(r"[a-z0-9-]+==\d+\.\d+\.\d+", file.source.requirement)


def test_the_manifest_has_what_the_services_load() -> None:
    assert {*EMBEDDED, LOCAL_LLM} == set(model_files())


def test_the_manifest_names_no_address() -> None:
    assert "://" not in files("answermesh.models").joinpath("manifest.toml").read_text(encoding="utf-8")


def test_files_of_different_content_lie_in_different_places(tmp_path: Path) -> None:
    paths = {file.path_in(tmp_path) for file in model_files().values()}

    assert len(paths) == len(model_files())


def test_an_unknown_file_is_refused_by_name() -> None:
    with pytest.raises(Failure, match=r"gpt-9\.onnx") as caught:
        model_file("gpt-9.onnx")

    assert caught.value.reason is Reason.NOT_FOUND
