"""Settings: defaults, file, environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from answermesh.config import Settings, load
from answermesh.errors import Failure


def write(folder: Path, text: str) -> Path:
    path = folder / "answermesh.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_file_and_environment_there_are_defaults() -> None:
    settings = load(environ={})
    assert (settings.tenant, settings.database_url, settings.providers) == ("default", "", ())
    assert settings == Settings()


def test_the_environment_overlays_the_file_which_overlays_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'tenant = "file"\nlog_level = "debug"\n[targets]\nmodels = "a:1"\nknowledge = "b:1"\n')
    environ = {"ANSWERMESH_TENANT": "env", "ANSWERMESH_TARGET_MODELS": "c:1", "ANSWERMESH_CONFIG": str(path)}
    settings = load(environ=environ)
    assert (settings.tenant, settings.log_level) == ("env", "debug")
    assert settings.targets == {"models": "c:1", "knowledge": "b:1"}


def test_paths_are_expanded() -> None:
    assert load(environ={"ANSWERMESH_DATA_DIR": "~/mesh"}).data_dir == Path("~/mesh").expanduser()


def test_database_url_is_read_where_nothing_more_specific_is_set() -> None:
    assert load(environ={"DATABASE_URL": "postgresql://a"}).database_url == "postgresql://a"
    both = {"DATABASE_URL": "postgresql://a", "ANSWERMESH_DATABASE_URL": "postgresql://b"}
    assert load(environ=both).database_url == "postgresql://b"


def test_tables_are_kept_for_their_readers(tmp_path: Path) -> None:
    path = write(tmp_path, '[[providers]]\nname = "x"\n[plans.quick]\na = 1\n[agents.g]\ntargets = ["g:1"]\n')
    settings = load(path, {})
    assert settings.providers == ({"name": "x"},)
    assert settings.plans == {"quick": {"a": 1}}
    assert settings.agents == {"g": {"targets": ["g:1"]}}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("tenent = 'x'", "tenent"),
        ("tenant = 1", "tenant"),
        ("targets = 'x'", "targets"),
        ("providers = {}", "providers"),
    ],
)
def test_a_wrong_key_or_type_is_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(Failure) as failure:
        load(write(tmp_path, text), {})
    assert failure.value.fields[0].path == key


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", write(tmp_path, "= broken")):
        with pytest.raises(Failure, match=path.name):
            load(path, {})


def test_a_target_that_nobody_configured_says_how() -> None:
    with pytest.raises(Failure, match="ANSWERMESH_TARGET_MODELS"):
        load(environ={}).target("models")
