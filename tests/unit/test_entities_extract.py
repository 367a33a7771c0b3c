"""Which entities a text mentions, and what joins them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge import entity_types
from answermesh.knowledge.entities import MAX_ENTITY_CHARS, extract, normalize
from answermesh.knowledge.relations import relate
from answermesh.v1.finding_pb2 import Entity

_PIECES = st.sampled_from(
    [
        "Raft ",
        "the Leader. ",
        "`--flag` ",
        "ETCD_NAME ",
        "/var/lib ",
        "2.5 GB ",
        "March 3, 2024 ",
        '"learner node" ',
        "**bold term** ",
        "PutRequest() ",
        "University of Kent ",
        "\n",
        "and ",
        "https://a.b/c ",
        "v3.6 ",
        "'s ",
    ]
)
TEXTS = st.one_of(st.text(max_size=300), st.lists(_PIECES, max_size=40).map("".join))


@given(TEXTS)
def test_mentions_are_exact_ordered_and_never_overlap(text: str) -> None:
    position = 0
    for mention in extract(text):
        assert position <= mention.start < mention.end <= mention.start + MAX_ENTITY_CHARS
        assert text[mention.start : mention.end] == mention.text
        assert mention.key == normalize(mention.text) != ""
        position = mention.end


@given(TEXTS)
def test_the_same_text_gives_the_same_mentions(text: str) -> None:
    assert extract(text) == extract(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who wrote Hamlet in 1601?", [("Hamlet", Entity.TYPE_CONCEPT), ("1601", Entity.TYPE_TIME)]),
        (
            "Set `--snapshot-count` to 10,000.",
            [("--snapshot-count", Entity.TYPE_CODE), ("10,000", Entity.TYPE_QUANTITY)],
        ),
        ("He met Dr. Alan Turing.", [("Alan Turing", Entity.TYPE_PERSON)]),
        ("She left the University of Manchester.", [("University of Manchester", Entity.TYPE_ORGANIZATION)]),
        (
            "It stores ETCD_NAME in /var/lib/etcd.",
            [("ETCD_NAME", Entity.TYPE_CODE), ("/var/lib/etcd", Entity.TYPE_CODE)],
        ),
        ("Open config.yaml.", [("config.yaml", Entity.TYPE_CODE)]),
        ("On March 3, 2024 it took 100ms.", [("March 3, 2024", Entity.TYPE_TIME), ("100ms", Entity.TYPE_QUANTITY)]),
        ('Add a "learner node" first.', [("learner node", Entity.TYPE_CONCEPT)]),
        ("Is TLS on?", [("TLS", Entity.TYPE_CONCEPT)]),
        ("The cat sat. It slept.", []),
        ("See [the page](https://example.org/Some_Path).", []),
    ],
)
def test_names_terms_identifiers_dates_and_quantities_are_found(text: str, expected: list[tuple[str, int]]) -> None:
    assert [(mention.text, mention.type) for mention in extract(text)] == expected


@pytest.mark.parametrize(
    ("one", "other"), [("RAFT", "raft"), ("--name", "name"), ("Etcd's", "etcd"), ("put()", "`put`"), ("a  b", "A\nB")]
)
def test_spellings_of_one_entity_share_a_key(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


def test_a_name_at_a_sentence_start_counts_when_it_stands_elsewhere_too() -> None:
    assert [m.text for m in extract("Raft elects. We like Raft.")] == ["Raft", "Raft"]
    assert extract("Members vote. Then members wait.") == []


def test_entities_of_one_sentence_are_joined_by_the_verb_between_them() -> None:
    text = "In short, Raft replicates the WAL. The TLS layer and `etcdctl` are elsewhere."
    found = [(one.subject, one.predicate, one.object, text[one.start : one.end]) for one in relate(text, extract(text))]
    assert found == [
        ("raft", "replicates", "wal", "In short, Raft replicates the WAL."),
        ("tls", "", "etcdctl", "The TLS layer and `etcdctl` are elsewhere."),
    ]


def test_types_have_the_numbers_of_the_contract() -> None:
    named = {name: number for name, number in Entity.Type.items() if number}
    assert {name: getattr(entity_types, name) for name in named} == named


def test_a_reader_starts_without_the_contracts_code() -> None:
    code = "import sys, answermesh.knowledge.worker; sys.exit('google.protobuf' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
