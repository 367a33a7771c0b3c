"""Claims: whether VerifyClaims tells supported from refuted and unsettled, and is never fooled by an altered number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from answermesh.client import Client
from answermesh.client.members import name_of
from answermesh.evaluation.alterations import alterations
from answermesh.evaluation.sets import items, rows, sets
from answermesh.evaluation.statistics import area_under_curve
from answermesh.evaluation.suite import Item, Outcome, Record, Task
from answermesh.typed.answermesh import v1

# Altered sentences of all sets with a corpus together.
_ALTERATIONS = 500
_TEXTS_PER_SET = 600
# The contract's limit of given texts.
_MAX_TEXTS = 100
_LABELS = {"SUPPORTED": "SUPPORTED", "REFUTED": "REFUTED", "NOT_ENOUGH_EVIDENCE": "NEI"}


class Claims:
    """Sets of claims with their evidence and a label; and sentences of corpora, altered."""

    name = "claims"
    about = "Claims checked over given evidence; `altered` are source sentences with one number or name changed."
    headline = ("balanced_accuracy", "macro_F1", "AUC", "calibration_error", "not_supported")

    def tasks(self, folder: Path) -> Iterable[Task]:
        for one in sets(folder, "claims"):
            yield Task(one.name, _with_evidence(items(one, "claims")))
        for one in sorted(folder.glob("*/claims_dev.jsonl*")):
            yield Task(f"{one.parent.name}-dev", _with_evidence(items(one.parent, "claims_dev")))
        texts = [row["text"] for one in sets(folder, "corpus") for row in rows(one, "corpus")[:_TEXTS_PER_SET]]
        made = alterations(texts, _ALTERATIONS)
        if made:
            yield Task(
                "altered",
                [
                    Item(f"{index:03}-{one.kind}", {"claim": one.altered, "evidence": [one.text], "label": "ALTERED"})
                    for index, one in enumerate(made)
                ],
            )

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        [told] = await mesh.verify_claims([item.row["claim"]], evidence=item.row["evidence"][:_MAX_TEXTS])
        verdict = told.verdict
        value = _LABELS[name_of(verdict.value, v1.VerdictValue, "VALUE_")]
        label = item.row["label"]
        details = {
            "claim": item.row["claim"],
            "label": label,
            "value": value,
            "supported_probability": verdict.supported_probability,
            "rationale": verdict.rationale,
        }
        if label == "ALTERED":
            return Outcome({"not_supported": float(value != "SUPPORTED")}, details)
        return Outcome({"correct": float((value == "SUPPORTED") == (label == "SUPPORTED"))}, details)

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        told = [(one.details["label"], one.details["value"], one.details["supported_probability"]) for one in records]
        if not told or told[0][0] == "ALTERED":
            return {}
        found = {
            "balanced_accuracy": balanced_accuracy(
                [(label == "SUPPORTED", value == "SUPPORTED") for label, value, _ in told]
            )
        }
        scored = [(label == "SUPPORTED", probability) for label, _, probability in told if probability is not None]
        if len({positive for positive, _ in scored}) == 2:
            found["AUC"] = area_under_curve(scored)
            found["calibration_error"] = calibration_error(scored)
        if {label for label, _, _ in told} == {"SUPPORTED", "REFUTED", "NEI"}:
            found["macro_F1"] = macro_f1([(label, value) for label, value, _ in told])
        return found


def balanced_accuracy(pairs: Sequence[tuple[bool, bool]]) -> float:
    """The mean, over what is so and what is not, of the share that was told right."""
    shares = []
    for kind in (True, False):
        of_kind = [told for truth, told in pairs if truth is kind]
        if of_kind:
            shares.append(sum(told is kind for told in of_kind) / len(of_kind))
    return sum(shares) / len(shares)


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """The mean of the labels' F1."""
    truths, told = Counter(truth for truth, _ in pairs), Counter(value for _, value in pairs)
    both = Counter(truth for truth, value in pairs if truth == value)
    return sum(2 * both[label] / (truths[label] + told[label]) for label in truths) / len(truths)


def calibration_error(scored: Sequence[tuple[bool, float]], bins: int = 10) -> float:
    """How far what was told is from what came true: the mean over groups of like probability, of equal size."""
    ordered = sorted(scored, key=lambda pair: pair[1])
    groups = [ordered[len(ordered) * n // bins : len(ordered) * (n + 1) // bins] for n in range(bins)]
    return sum(
        abs(sum(truth for truth, _ in group) - sum(probability for _, probability in group)) for group in groups
    ) / len(ordered)


def _with_evidence(found: Iterable[Item]) -> list[Item]:
    return [item for item in found if item.row["evidence"]]
