"""Questions within a question, by rule."""

from __future__ import annotations

import pytest

from answermesh.agents.language.subquestions import subquestions


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("What is the difference between a learner and a voter?", ["What is a learner?", "What is a voter?"]),
        ("How does Raft differ from Paxos?", ["What is Raft?", "What is Paxos?"]),
        ("What is a lease and how long does it live?", ["What is a lease?", "How long does it live?"]),
        ("What is a lease? How long does it live?", ["What is a lease?", "How long does it live?"]),
        ("What are disks and networks for?", []),
        ("How do I add and remove members?", []),
        ("What is etcd and why?", []),
        ("Tell me about leases", []),
    ],
)
def test_only_what_is_clearly_two_questions_is_split(question: str, parts: list[str]) -> None:
    assert subquestions(question) == parts
