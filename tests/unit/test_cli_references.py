"""Answers exported in the styles of manuals."""

from __future__ import annotations

from datetime import date

import pytest

from answermesh.cli.references import STYLES, Cited, Reference, exported

MADE = date(2026, 9, 5)
RAFT = Reference("Raft & its [friends]", "https://example.org/raft_guide", 10, 31, "Raft elects a leader.")
QUORUM = Reference("", "docs/quorum notes.md", 0, 9, "A quorum.")
SENTENCES = [Cited("Raft elects a leader.", (0,)), Cited("It needs a quorum.", (0, 1)), Cited("So *it* is.", ())]


@pytest.mark.parametrize(
    ("style", "lines"),
    [
        (
            "markdown",
            [
                "Raft elects a leader.[^1] It needs a quorum.[^1][^2] So \\*it\\* is.",
                "[^1]: Raft & its \\[friends\\], <https://example.org/raft_guide>, "
                "characters 10–31: “Raft elects a leader.”",
                "[^2]: docs/quorum notes.md, <docs/quorum%20notes.md>, characters 0–9: “A quorum.”",
            ],
        ),
        (
            "apa",
            [
                "Raft elects a leader. (“Raft & its [friends],” n.d.) It needs a quorum. (“Raft & "
                "its [friends],” n.d.; "
                "“docs/quorum notes.md,” n.d.) So *it* is.",
                "docs/quorum notes.md. (n.d.). Retrieved September 5, 2026, from docs/quorum%20notes.md",
                "Raft & its [friends]. (n.d.). Retrieved September 5, 2026, from https://example.org/raft_guide",
            ],
        ),
        (
            "mla",
            [
                "Raft elects a leader. (“Raft & its [friends]”) It needs a quorum. (“Raft & its [friends]”; "
                "“docs/quorum notes.md”) So *it* is.",
                "“docs/quorum notes.md.” docs/quorum%20notes.md. Accessed 5 Sept. 2026.",
                "“Raft & its [friends].” https://example.org/raft_guide. Accessed 5 Sept. 2026.",
            ],
        ),
        (
            "chicago",
            [
                "Raft elects a leader.[1] It needs a quorum.[1][2] So *it* is.",
                "1. “Raft & its [friends],” accessed September 5, 2026, "
                "https://example.org/raft_guide, characters 10–31.",
                "2. “docs/quorum notes.md,” accessed September 5, 2026, docs/quorum%20notes.md, characters 0–9.",
            ],
        ),
    ],
)
def test_each_style_marks_sentences_and_lists_sources(style: str, lines: list[str]) -> None:
    text, _, *listed = exported(SENTENCES, [RAFT, QUORUM], style, MADE).splitlines()
    assert [text, *listed] == lines


def test_bibtex_escapes_what_latex_would_obey() -> None:
    evil = Reference(r"\input{secret} 50 %", "a}b", 0, 1, "x")
    written = exported([Cited("100 % & more.", (0,))], [evil], "bibtex", MADE)
    assert r"100 \% \& more.~\cite{input1}" in written
    assert "@misc{input1," in written
    assert r"\textbackslash{}input\{secret\} 50 \%" in written
    assert r"\url{a%7Db}" in written


@pytest.mark.parametrize("style", STYLES)
def test_an_answer_without_citations_is_its_text_alone(style: str) -> None:
    assert exported([Cited("Nothing is cited.", ())], [], style, MADE) == "Nothing is cited.\n"
