"""Fits what turns traits of a claim into probabilities, and says how well that does on what it was not fitted on.

    python -m bench.calibrate --data DIR [--memory FILE] [--write]

Fitted on: the training split of SciFact's claims, half of FM2's (by page, since the folder holds one split of it), both
again with the evidence of another claim, which settles nothing, and sentences of their evidence cut short or mixed.
Measured on: SciFact's dev split, the other half of FM2, all of BEGIN. The folders are those of docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from answermesh.agents.checking import check as checking
from answermesh.agents.checking.traits import NAMES
from answermesh.agents.sources import Sources
from answermesh.v1.finding_pb2 import Passage, Span, Verdict
from bench.embedded_models import EmbeddedModels
from bench.logistic import Array, Fitted, fit_meant

WEIGHTS = Path(__file__).parents[1] / "services" / "answermesh" / "agents" / "weights" / "claims.toml"
CLASSES = ("supported", "refuted", "unsettled")
LABELS = {"SUPPORTED": 0, "REFUTED": 1, "NEI": 2, "NOT_SUPPORTED": 1}
# The higher, the nearer the weights come to counting words: AUC on FM2's held half .682 at .05, .673 at .1, .666 at
# .15, on BEGIN .923, .930 and .936.
PENALTY = 0.05
# Traits that may only speak for support, and those that may only speak against it.
FOR = frozenset(
    "logit cosine cosine_best reading covered covered_best covered_together in_order in_order_best same_words "
    "same_words_anywhere".split()
)
AGAINST = frozenset(
    "words_missing words_missing_share words_missing_least limits_missing number_missing "
    "number_missing_everywhere number_differs names_missing names_missing_least names_incomplete name_differs "
    "negation_differs opposite opposite_anywhere contrary_words contrary_words_anywhere".split()
)
# Weight of claims beside evidence of another one, as a share of their set's.
MISMATCHED = 0.15
# Weight of sentences cut short and mixed, and how many of each set: they say that a claim may repeat its source.
SHORTENED = 0.15
MADE = 260

Row = Mapping[str, Any]


def read(path: Path) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["evidence"]]


def fitting_half(row: Row) -> bool:
    """Whether a claim of FM2 is of the pages to fit on."""
    return hashlib.sha256(row["page"].encode()).digest()[0] % 2 == 0


def sources_of(texts: Sequence[str]) -> Sources:
    sources = Sources()
    for index, text in enumerate(texts):
        sources.add(Passage(name=f"evidence/{index}", text=text, span=Span(start=0, end=len(text))))
    return sources


async def traits_of(rows: Sequence[Row], models: EmbeddedModels) -> Array:
    found = []
    for row in rows:
        read = checking.preselected(row["claim"], sources_of(row["evidence"]).sentences())
        found.append((await checking.nearest(row["claim"], read, models)).traits.row())
    return np.array(found)


def auc(positive: Array, score: Array) -> float:
    """Area under the ROC curve; ties count half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def balanced_accuracy(truth: Array, told: Array) -> float:
    return float(np.mean([(told[truth == one] == one).mean() for one in np.unique(truth)]))


def macro_f1(truth: Array, told: Array) -> float:
    scores = []
    for one in range(3):
        both = ((truth == one) & (told == one)).sum()
        scores.append(2 * both / max(1, (truth == one).sum() + (told == one).sum()))
    return float(np.mean(scores))


def calibration_error(truth: Array, probability: Array, bins: int = 10) -> float:
    """Mean distance of what is told from what is so, over bins of equal size."""
    order = np.argsort(probability)
    parts = np.array_split(order, bins)
    return float(sum(len(part) * abs(truth[part].mean() - probability[part].mean()) for part in parts) / len(truth))


async def told_values(rows: Sequence[Row], models: EmbeddedModels) -> tuple[Array, Array]:
    """The whole check as agents run it: values as classes, and probabilities of support."""
    order = [Verdict.VALUE_SUPPORTED, Verdict.VALUE_REFUTED, Verdict.VALUE_NOT_ENOUGH_EVIDENCE]
    checked = [await checking.check(row["claim"], sources_of(row["evidence"]), models) for row in rows]
    return np.array([order.index(one.value) for one in checked]), np.array([one.odds.supported for one in checked])


def shares(rows: Sequence[Row]) -> Array:
    """Each row's class, as shares."""
    y = np.zeros((len(rows), 3))
    y[np.arange(len(rows)), [LABELS[row["label"]] for row in rows]] = 1
    return y


def mismatched(rows: Sequence[Row]) -> list[Row]:
    """A third of the claims, each beside the evidence of one further on."""
    away = len(rows) // 2
    return [
        {**row, "evidence": rows[(index + away) % len(rows)]["evidence"], "label": "NEI"}
        for index, row in enumerate(rows)
        if index % 3 == 0
    ]


def shortened(rows: Sequence[Row]) -> list[Row]:
    """Source sentences cut short, which the source supports, and halves of two sentences as one, which nothing does."""
    draw = random.Random(5)
    found: list[Row] = []
    for row in draw.sample(rows, len(rows)):
        sentence = draw.choice(row["evidence"]).rstrip(".")
        words = sentence.split()
        if not 10 <= len(words) <= 45:
            continue
        clauses = re.split(r",\s+", sentence)
        front, rest = clauses[0], ", ".join(clauses[1:])
        long_enough = [part for part in (front, rest) if rest and len(part.split()) >= 6]
        cut = long_enough[0] if long_enough else " ".join(words[: max(6, int(len(words) * 0.7))])
        cut = re.sub(r"\s*\([^)]*\)", "", cut).strip() + "."
        found.append({**row, "claim": cut[0].upper() + cut[1:], "label": "SUPPORTED"})
        other = draw.choice(draw.choice(rows)["evidence"]).rstrip(".").split()
        if len(other) > 8:
            mixed = " ".join(words[: len(words) // 2] + other[len(other) // 2 :]) + "."
            found.append({**row, "claim": mixed, "label": "NEI"})
        if len(found) >= MADE:
            break
    return found


def written(fitted: Fitted, header: str) -> str:
    lines = [header, "[bias]"]
    lines += [f"{name} = {value:.5f}" for name, value in zip(CLASSES, fitted.bias, strict=True)]
    for index, name in enumerate(NAMES):
        lines += ["", "[[traits]]", f'trait = "{name}"', f"mean = {fitted.mean[index]:.5f}"]
        lines += [f"scale = {fitted.scale[index]:.5f}"]
        lines += [f"{one} = {value:.5f}" for one, value in zip(CLASSES, fitted.weights[index], strict=True)]
    return "\n".join(lines) + "\n"


HEADER = """# Weights of the check of claims: what turns its traits (agents/checking/traits.py) into probabilities.
#
# Made by `python -m bench.calibrate`; do not edit. Fitted on SciFact's training claims (CC BY 4.0) and on half of the
# pages of FM2's dev claims (Apache-2.0; text of Wikipedia, CC BY-SA): {fitted} claims. No text of them is kept here.
# A trait's standardised value times its weight, added up for each class, then softmax.
"""


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--memory", type=Path)
    asked.add_argument("--write", action="store_true", help="write the weights into the package")
    options = asked.parse_args()
    models = EmbeddedModels(options.memory)
    train = read(options.data / "scifact" / "claims_train.jsonl.gz")
    fm2 = read(options.data / "fm2" / "claims.jsonl.gz")
    half = [row for row in fm2 if fitting_half(row)]
    made = shortened(train) + shortened(half)
    parts = [
        (train, 1.0),
        (half, 1.0),
        (mismatched(train), MISMATCHED),
        (mismatched(half), MISMATCHED),
        (made, SHORTENED),
    ]
    x = np.vstack([await traits_of(rows, models) for rows, _ in parts])
    models.remember()
    y = np.vstack([shares(rows) for rows, _ in parts])
    weight = np.concatenate([np.full(len(rows), share / len(rows)) for rows, share in parts])
    fitted = fit_meant(x, y, weight, PENALTY, [(name in FOR) - (name in AGAINST) for name in NAMES])
    if options.write:
        WEIGHTS.write_text(written(fitted, HEADER.format(fitted=len(x))), encoding="utf-8")
    dev = read(options.data / "scifact" / "claims_dev.jsonl.gz")
    held = [row for row in fm2 if not fitting_half(row)]
    other = mismatched(dev) + mismatched(held)
    begin = read(options.data / "begin_wow" / "claims.jsonl.gz")
    for name, rows in (
        ("scifact dev", dev),
        ("fm2 held half", held),
        ("fm2 fitting half", half),
        ("begin dev", begin),
        ("mismatched dev", other),
    ):
        truth = np.array([LABELS[row["label"]] for row in rows])
        p = fitted.probabilities(await traits_of(rows, models))
        weighed = p.argmax(axis=1)
        print(f"{name}: {len(rows)} claims; by weight alone: " + figures(truth, weighed, p[:, 0]))
        if WEIGHTS.exists():
            told, probability = await told_values(rows, models)
            print(f"{'':{len(name)}}  the whole check: " + figures(truth, told, probability))


def figures(truth: Array, told: Array, probability: Array) -> str:
    supported = truth == 0
    if not supported.any():
        return f"told supported {np.mean(told == 0):.3f}, refuted {np.mean(told == 1):.3f}"
    shown = (
        f"supported or not BAcc {balanced_accuracy(supported, told == 0):.3f}, AUC {auc(supported, probability):.3f}"
    )
    shown += f", calibration error {calibration_error(supported, probability):.3f}"
    return shown + (f", macro-F1 {macro_f1(truth, told):.3f}" if 2 in truth else "")


if __name__ == "__main__":
    asyncio.run(main())
