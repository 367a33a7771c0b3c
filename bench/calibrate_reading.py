"""Fits when a question counts as answered, and which piece of a sentence is the short answer; says how well that does.

    python -m bench.calibrate_reading --data DIR [--memory FILE] [--write]

The folder holds one split of SQuAD 2.0, so each figure is of articles that the weights were not fitted on: one article
is left out at a time. The weights that are written are fitted on the articles of FITTED alone; the others are never
fitted on.

Its unanswerable questions are all made to look answerable, and its paragraphs are all long. So each question is also
asked of other texts, `Way`: most questions that a text does not answer are not made to deceive, and a note of one
sentence answers, too. No sign may count against its meaning, as it may where it tells only how a set was made.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from answermesh.agents.authoring import answerable, reading
from answermesh.agents.authoring.spans import pieces
from answermesh.agents.checking.traits import omissions
from answermesh.evaluation.answers import exact_match, token_f1
from answermesh.knowledge.sentences import split
from bench.calibrate import auc
from bench.embedded_models import EmbeddedModels
from bench.logistic import Array, fit_meant

WEIGHTS = Path(__file__).parents[1] / "services" / "answermesh" / "agents" / "weights"
FITTED = ("Computational_complexity_theory", "French_and_Indian_War", "Harvard_University", "Immune_system")
PENALTY = 0.01
# Of the pieces' weights, per weight.
RIDGE = 5.0
# A feature that occurs less often than this is left out.
RARE = 40


class Way(enum.Enum):
    """Of which text a question is asked."""

    OWN = enum.auto()
    # A paragraph of another article.
    FOREIGN = enum.auto()
    # Its paragraph without the sentences that hold the answer.
    WITHOUT = enum.auto()
    # The best sentence of its paragraph, under its title and without one.
    ALONE = enum.auto()
    UNTITLED = enum.auto()


# Of a question asked so, in the fit.
WEIGHT = {Way.OWN: 1.0, Way.FOREIGN: 0.5, Way.WITHOUT: 0.3, Way.ALONE: 0.25, Way.UNTITLED: 0.25}
# Signs that may only speak for an answer, and those that may only speak against one; lengths may do either.
FOR = frozenset({"logit", "cosine"})
EITHER = frozenset({"length", "sentence_length"})


@dataclass(frozen=True, slots=True)
class Read:
    """A question, read against a text."""

    id: str
    article: str
    answers: Sequence[str]
    signs: Array
    way: Way
    # Text of each piece of the best sentences, with its features; of its own paragraph alone.
    texts: Sequence[str] = ()
    features: Sequence[Mapping[str, float]] = ()


async def read_all(data: Path, models: EmbeddedModels, every: int) -> list[Read]:
    corpus = {row["id"]: row for row in rows(data / "squad2" / "corpus.jsonl.gz")}
    others = sorted(corpus)
    found: list[Read] = []
    groups: dict[bool, list[tuple[int, dict[str, Any]]]] = {True: [], False: []}
    for index, query in enumerate(rows(data / "squad2" / "queries.jsonl.gz")):
        groups[query["context_id"].split("#")[0] in FITTED].append((index, query))
    for index, query in [*groups[True][::every], *groups[False][::every]]:
        context = corpus[query["context_id"]]
        found += await read_one(query, context, models)
        stranger = corpus[others[(index * 7) % len(others)]]
        if index % 6 == 0 and stranger["title"] != context["title"]:
            text, title = stranger["text"], stranger["title"]
            foreign = await signs_of(query["text"], sentences_of(text), text, title, models)
            found.append(Read(query["id"], query["context_id"].split("#")[0], [], foreign, Way.FOREIGN))
    return found


async def read_one(query: Mapping[str, Any], context: Mapping[str, Any], models: EmbeddedModels) -> list[Read]:
    """A question against its own paragraph, and against what can be made of that."""
    text, title, question, answers = context["text"], context["title"], query["text"], query["answers"]
    article = query["context_id"].split("#")[0]
    sentences = sentences_of(text)
    logits = await models.score(question, [f"{title}: {one}" for one in sentences])
    order = sorted(range(len(sentences)), key=lambda n: -logits[n])
    candidates = [(n, piece) for n in order[: reading.SENTENCES] for piece in pieces(sentences[n])]
    own = Read(
        query["id"],
        article,
        answers,
        await signs_of(question, sentences, text, title, models),
        Way.OWN,
        [sentences[n][piece.start : piece.end] for n, piece in candidates],
        [reading.features(question, sentences[n], piece, logits[n] - logits[order[0]]) for n, piece in candidates],
    )
    found = [own]
    holding = {n for n in order if any(answer in sentences[n] for answer in answers)}
    rest = [one for n, one in enumerate(sentences) if n not in holding]
    if holding and rest:
        signs = await signs_of(question, rest, " ".join(rest), title, models)
        found.append(Read(query["id"], article, [], signs, Way.WITHOUT))
    if bool(answers) == (order[0] in holding):
        best = sentences[order[0]]
        for way, shown in ((Way.ALONE, title), (Way.UNTITLED, "")):
            signs = await signs_of(question, [best], best, shown, models)
            found.append(Read(query["id"], article, answers, signs, way))
    return found


def sentences_of(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split(text)]


async def signs_of(question: str, sentences: Sequence[str], text: str, title: str, models: EmbeddedModels) -> Array:
    """The signs of a question beside the best of these sentences, as an author takes them."""
    shown = [f"{title}: {one}" if title else one for one in sentences]
    logits = await models.score(question, shown)
    best = max(range(len(sentences)), key=lambda n: logits[n])
    asked, *vectors = await models.vectors([question, sentences[best], shown[best], *omissions(question)])
    alike, changes = answerable.likeness(asked, vectors[:2], vectors[2:])
    found = answerable.signs(question, sentences[best], f"{title} {text}", logits[best], alike, changes)
    return np.array(astuple(found), dtype=float)


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def fit_answerable(found: Sequence[Read]) -> tuple[float, Array]:
    """Bias and weights of the signs as they are, not standardised."""
    x = np.array([one.signs for one in found])
    truth = np.array([bool(one.answers) for one in found])
    y = np.stack([truth, ~truth], axis=1).astype(float)
    weight = np.array([WEIGHT[one.way] for one in found])
    meant = [0 if name in EITHER else 1 if name in FOR else -1 for name in answerable.NAMES]
    fitted = fit_meant(x, y, weight, PENALTY, meant)
    weights = (fitted.weights[:, 0] - fitted.weights[:, 1]) / fitted.scale
    return float(fitted.bias[0] - fitted.bias[1] - weights @ fitted.mean), weights


def fit_pieces(found: Sequence[Read]) -> dict[str, float]:
    """Weights of the features of pieces: a softmax over a question's pieces, towards those that share its answer."""
    counts = Counter(name for one in found for features in one.features for name in features)
    names = sorted(name for name, count in counts.items() if count >= RARE)
    column = {name: n for n, name in enumerate(names)}
    questions = []
    for one in found:
        worth = np.array([max((token_f1(text, gold) for gold in one.answers), default=0.0) for text in one.texts])
        if len(worth) and worth.max() >= 0.3:
            questions.append((_matrix(one.features, column), worth**3 / (worth**3).sum()))
    scale = np.vstack([x for x, _ in questions]).std(axis=0)
    scale[scale < 0.05] = 0.05
    scaled = [(x / scale, target) for x, target in questions]
    w = np.zeros(len(names))
    loss = _loss(w, scaled)
    for _ in range(20):
        gradient, hessian = RIDGE * w, RIDGE * np.eye(len(names))
        for x, target in scaled:
            p = _softmax(x @ w)
            mean = x.T @ p
            gradient = gradient + x.T @ (p - target)
            hessian += (x * p[:, None]).T @ x - np.outer(mean, mean)
        step, share = np.linalg.solve(hessian, gradient), 1.0
        while (after := _loss(w - share * step, scaled)) >= loss and share > 1e-3:
            share /= 2
        if loss - after < 0.01:
            break
        w, loss = w - share * step, after
    return {name: float(w[n] / scale[n]) for name, n in column.items()}


def _matrix(features: Sequence[Mapping[str, float]], column: Mapping[str, int]) -> Array:
    x = np.zeros((len(features), len(column)))
    for row, named in enumerate(features):
        for name, value in named.items():
            if name in column:
                x[row, column[name]] = value
    return x


def _softmax(sums: Array) -> Array:
    raised = np.exp(sums - sums.max())
    return np.asarray(raised / raised.sum())


def _loss(w: Array, questions: Sequence[tuple[Array, Array]]) -> float:
    return float(RIDGE / 2 * w @ w - sum(target @ np.log(_softmax(x @ w) + 1e-300) for x, target in questions))


def measured(
    found: Sequence[Read], bias: float, weights: Array, pieces_: Mapping[str, float]
) -> list[dict[str, float]]:
    """What the weights make of questions: probability, and the score of the piece."""
    told = []
    for one in found:
        probability = 1 / (1 + np.exp(-(bias + weights @ one.signs)))
        sums = [sum(pieces_.get(name, 0.0) * value for name, value in named.items()) for named in one.features]
        text = one.texts[int(np.argmax(sums))] if sums else ""
        sure = float(_softmax(np.array(sums)).max()) if sums else 0.0
        exact = max((exact_match(text, gold) for gold in one.answers), default=0.0)
        shared = max((token_f1(text, gold) for gold in one.answers), default=0.0)
        told.append(
            {"p": float(probability), "sure": sure, "answerable": float(bool(one.answers)), "EM": exact, "F1": shared}
        )
    return told


def show(name: str, told: Sequence[Mapping[str, float]]) -> None:
    of = {key: np.array([one[key] for one in told]) for key in told[0]}
    truth = of["answerable"] == 1
    print(
        f"{name}: {len(told)} questions, AUC of answerable {auc(truth, of['p']):.3f}, pieces of the answerable "
        f"EM {100 * of['EM'][truth].mean():.1f} F1 {100 * of['F1'][truth].mean():.1f}"
    )
    for score in ("p", "worth"):
        value = of["p"] if score == "p" else of["p"] * (0.35 + 0.65 * of["sure"])
        for cut in (0.3, 0.35, 0.4, 0.5, 0.6, 0.7):
            answered = value >= cut
            exact = np.where(answered, of["EM"], 1 - of["answerable"]).mean()
            shared = np.where(answered, of["F1"], 1 - of["answerable"]).mean()
            kept = answered[truth].mean()
            shares = f"{answered.mean():.2f} (of the answerable {kept:.2f})"
            print(f"  {score} >= {cut}: answers {shares}, EM {100 * exact:.1f} F1 {100 * shared:.1f}")


HEADER = """# {what}
#
# Made by `python -m bench.calibrate_reading{how}`; do not edit. Fitted on {count} questions and
# texts of {articles} articles of SQuAD 2.0 (CC BY-SA 4.0); no text of them is kept here.
"""


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--memory", type=Path)
    asked.add_argument("--every", type=int, default=1, help="read only every Nth question")
    asked.add_argument("--write", action="store_true", help="write the weights into the package")
    options = asked.parse_args()
    models = EmbeddedModels(options.memory)
    found = await read_all(options.data, models, options.every)
    models.remember()
    own = [one for one in found if one.way is Way.OWN]
    left_out = []
    for article in sorted({one.article for one in own}):
        rest = [one for one in found if one.article != article]
        bias, weights = fit_answerable(rest)
        named = fit_pieces([one for one in rest if one.way is Way.OWN])
        left_out += measured([one for one in own if one.article == article], bias, weights, named)
    show("each article by the others", left_out)
    fitting = [one for one in found if one.article in FITTED]
    bias, weights = fit_answerable(fitting)
    named = fit_pieces([one for one in fitting if one.way is Way.OWN])
    show("articles never fitted on", measured([one for one in own if one.article not in FITTED], bias, weights, named))
    if options.write:
        how = f" --every {options.every}" if options.every > 1 else ""
        lines = [f"bias = {bias:.5f}", "", "[weights]"]
        lines += [f"{name} = {value:.5f}" for name, value in zip(answerable.NAMES, weights, strict=True)]
        write("answerable.toml", "Whether a sentence answers a question.", how, len(fitting), lines)
        lines = ["[weights]", *(f'"{name}" = {value:.4f}' for name, value in named.items() if abs(value) >= 5e-4)]
        write("answers.toml", "Which piece of a sentence answers a question.", how, len(fitting), lines)


def write(name: str, what: str, how: str, count: int, lines: Sequence[str]) -> None:
    head = HEADER.format(what=what, how=how, count=count, articles=len(FITTED))
    (WEIGHTS / name).write_text("\n".join([head + lines[0], *lines[1:]]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
