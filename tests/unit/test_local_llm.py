"""The settings that tell the agents of a language model beside the mesh."""

from __future__ import annotations

from pathlib import Path

import pytest

from answermesh.config import Settings, load
from answermesh.errors import Failure, Reason
from answermesh.serve.local_llm import model_of, settings_with


def test_the_local_model_comes_after_the_users_providers(tmp_path: Path) -> None:
    config = tmp_path / "user.toml"
    config.write_text('tenant = "acme"\n[[providers]]\nname = "mine"\nbase_url = "http://h/v1"\nmodels = ["m"]\n')
    extended = tmp_path / "extended.toml"
    extended.write_text(settings_with(config, "127.0.0.1:9", "Smol LM"))
    settings = load(extended, {})
    assert settings.tenant == "acme"
    assert [provider["name"] for provider in settings.providers] == ["mine", "local"]
    assert settings.providers[1]["base_url"] == "http://127.0.0.1:9/v1"
    assert settings.providers[1]["models"] == ["Smol_LM"]


def test_a_file_that_cannot_be_extended_says_how_it_can(tmp_path: Path) -> None:
    config = tmp_path / "user.toml"
    config.write_text("providers = []\n")
    with pytest.raises(Failure, match=r"\[\[providers\]\]") as caught:
        settings_with(config, "127.0.0.1:9", "m")
    assert caught.value.reason is Reason.INVALID_FIELD


def test_a_model_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="--gguf"):
        model_of(Settings(), tmp_path / "none.gguf")


def test_what_is_no_gguf_file_is_refused_before_a_start(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("notes")
    with pytest.raises(Failure, match="not a GGUF file"):
        model_of(Settings(), notes)
