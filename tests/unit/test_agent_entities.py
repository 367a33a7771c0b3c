"""The entities agent without a language model."""

from __future__ import annotations

from answermesh.agents.entities import Entities
from tests.fake_run import FakeRun


async def test_names_and_subquestions_of_the_question_are_told() -> None:
    run = FakeRun(Entities.card, "What is the difference between `etcdctl` and Kubernetes?")
    await Entities(None).run(run)
    names = [finding.entity.display_name for finding in run.emitted if finding.HasField("entity")]
    assert set(names) >= {"etcdctl", "Kubernetes"}
    assert all(0 < finding.entity.salience <= 1 for finding in run.emitted if finding.HasField("entity"))
    texts = [finding.subquestion.text for finding in run.emitted if finding.HasField("subquestion")]
    assert texts == ["What is `etcdctl`?", "What is Kubernetes?"]


async def test_a_question_that_names_nothing_gives_nothing() -> None:
    run = FakeRun(Entities.card, "why is it so slow?")
    await Entities(None).run(run)
    assert run.emitted == []
