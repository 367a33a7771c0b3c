"""Fits when a question counts as answered, and how sure a short answer is; says how well that does.

    python -m bench.calibrate_reading --data DIR [--memory FILE] [--write]

Of SQuAD 2.0, on the articles that the reader was not trained on (bench.reader): on the others it knows the answers.
Figures are of each article by weights that were fitted on the other.

Its unanswerable questions are all made to look answerable, and its paragraphs are all long. So each question is also
asked of other texts, `Way`: most questions that a text does not answer are not made to deceive, and a note of one
sentence answers, too. No sign may count against its meaning, as it may where it tells only how a set was made.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from answermesh.agents.authoring import answerable, reading
from answermesh.agents.scoring import cosine
from answermesh.agents.scoring import probability as probability_of
from answermesh.evaluation.answers import exact_match, token_f1
from answermesh.evaluation.sets import rows, trained_on
from answermesh.knowledge.sentences import split
from bench.calibrate import auc
from bench.embedded_models import EmbeddedModels
from bench.logistic import Array, fit_meant

WEIGHTS = Path(__file__).parents[1] / "services" / "answermesh" / "agents" / "weights"
PENALTY = 0.01


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
# Signs that may only speak for an answer; the others may only speak against one.
FOR = frozenset({"logit", "reading", "cosine"})


@dataclass(frozen=True, slots=True)
class Read:
    """A question, read against a text."""

    article: str
    answers: Sequence[str]
    way: Way
    signs: Array
    # Whether the best sentence holds a right answer, by the cross-encoder alone and with the reader.
    held_before: bool
    held: bool
    # The reader's piece, where it stands in the best sentence, and its logit.
    piece: str
    logit: float


async def read_all(data: Path, models: EmbeddedModels) -> list[Read]:
    corpus = {row["id"]: row for row in rows(data / "squad2", "corpus")}
    others = sorted(corpus)
    found: list[Read] = []
    for index, query in enumerate(rows(data / "squad2", "queries")):
        context = corpus[query["context_id"]]
        article = query["context_id"].split("#")[0]
        if article in trained_on():
            continue
        found += await read_one(query, context, article, models)
        stranger = corpus[others[(index * 7) % len(others)]]
        if index % 6 == 0 and stranger["title"] != context["title"]:
            sentences = sentences_of(stranger["text"])
            found.append(await read(query, sentences, stranger["title"], article, Way.FOREIGN, models))
    return found


async def read_one(query: dict[str, Any], context: dict[str, Any], article: str, models: EmbeddedModels) -> list[Read]:
    """A question against its own paragraph, and against what can be made of that."""
    title, answers = context["title"], query["answers"] if query["answerable"] else []
    sentences = sentences_of(context["text"])
    found = [await read(query, sentences, title, article, Way.OWN, models)]
    holding = {n for n, one in enumerate(sentences) if any(answer in one for answer in answers)}
    rest = [one for n, one in enumerate(sentences) if n not in holding]
    if holding and rest:
        found.append(await read(query, rest, title, article, Way.WITHOUT, models))
    if found[0].held is bool(answers):
        logits = await models.score(query["text"], [f"{title}: {one}" for one in sentences])
        best = sentences[int(np.argmax(logits))]
        for way, shown in ((Way.ALONE, title), (Way.UNTITLED, "")):
            if not answers or any(answer in best for answer in answers):
                found.append(await read(query, [best], shown, article, way, models))
    return found


def sentences_of(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split(text)]


async def read(
    query: dict[str, Any], sentences: Sequence[str], title: str, article: str, way: Way, models: EmbeddedModels
) -> Read:
    """What an author makes of a question and a passage of these sentences."""
    question = query["text"]
    answers = query["answers"] if query["answerable"] and way not in (Way.FOREIGN, Way.WITHOUT) else []
    text = " ".join(sentences)
    shown = [f"{title}: {one}" if title else one for one in sentences]
    logits = await models.score(question, shown)
    [known] = await models.read(question, [text])
    starts = np.cumsum([0, *(len(one) + 1 for one in sentences)])
    holding = int(np.searchsorted(starts, known.start, side="right")) - 1
    before = int(np.argmax(logits))
    lifted = np.array(logits)
    lifted[holding] += reading.lift(known)
    best = int(np.argmax(lifted))
    asked, *vectors = await models.vectors([question, sentences[best], shown[best]])
    alike = max(cosine(asked, one) for one in vectors)
    found = answerable.signs(question, sentences[best], float(lifted[best]), known.logit, alike)
    return Read(
        article,
        answers,
        way,
        np.array(astuple(found), dtype=float),
        any(answer in sentences[before] for answer in answers),
        any(answer in sentences[best] for answer in answers),
        text[known.start : known.end] if best == holding else "",
        known.logit,
    )


def fit_answerable(found: Sequence[Read]) -> tuple[float, Array]:
    """Bias and weights of the signs as they are, not standardised."""
    x = np.array([one.signs for one in found])
    truth = np.array([bool(one.answers) for one in found])
    meant = [1 if name in FOR else -1 for name in answerable.NAMES]
    weight = np.array([WEIGHT[one.way] for one in found])
    return binary(x, truth, weight, meant)


def fit_short(found: Sequence[Read]) -> tuple[float, float]:
    """Bias and slope of the probability that a piece is right, by its reading's logit."""
    told = [one for one in found if one.answers and one.piece and one.way is Way.OWN]
    x = np.array([[one.logit] for one in told])
    truth = np.array([max(token_f1(one.piece, gold) for gold in one.answers) >= 0.5 for one in told])
    bias, slope = binary(x, truth, np.ones(len(told)), [1])
    return bias, float(slope[0])


def binary(x: Array, truth: Array, weight: Array, meant: Sequence[int]) -> tuple[float, Array]:
    y = np.stack([truth, ~truth], axis=1).astype(float)
    fitted = fit_meant(x, y, weight, PENALTY, meant)
    weights = (fitted.weights[:, 0] - fitted.weights[:, 1]) / fitted.scale
    return float(fitted.bias[0] - fitted.bias[1] - weights @ fitted.mean), weights


def measured(found: Sequence[Read], bias: float, weights: Array, short: tuple[float, float]) -> list[dict[str, float]]:
    """What the weights make of questions."""
    told = []
    for one in found:
        probability = probability_of(float(bias + weights @ one.signs))
        right = probability * probability_of(short[0] + short[1] * one.logit) if one.piece else 0.0
        exact = max((exact_match(one.piece, gold) for gold in one.answers), default=0.0)
        shared = max((token_f1(one.piece, gold) for gold in one.answers), default=0.0)
        told.append(
            {"p": probability, "right": right, "answerable": float(bool(one.answers)), "EM": exact, "F1": shared}
        )
    return told


def show(name: str, told: Sequence[dict[str, float]]) -> None:
    of = {key: np.array([one[key] for one in told]) for key in told[0]}
    truth = of["answerable"] == 1
    print(
        f"{name}: {len(told)} questions, {100 * (1 - truth.mean()):.1f} without an answer, AUC of answerable "
        f"{auc(truth, of['p']):.3f}, pieces of the answerable EM {100 * of['EM'][truth].mean():.1f} "
        f"F1 {100 * of['F1'][truth].mean():.1f}"
    )
    for cut in (0.3, 0.4, 0.5, 0.6):
        answered = of["p"] >= cut
        shares = " ".join(f"{answered[kind].mean():.2f}" for kind in (truth, ~truth))
        print(f"  p >= {cut}: answers {shares} of those with and without an answer")
    for cut in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5):
        for least in (0.4, 0.5):
            answered = (of["right"] >= cut) & (of["p"] >= least)
            exact = np.where(answered, of["EM"], 1 - of["answerable"]).mean()
            shared = np.where(answered, of["F1"], 1 - of["answerable"]).mean()
            print(f"  short from {cut}, answered from {least}: EM {100 * exact:.1f} F1 {100 * shared:.1f}")


HEADER = """# Whether a sentence answers a question, and how sure its short answer is.
#
# Made by `python -m bench.calibrate_reading`; do not edit. Fitted on {count} questions and texts of {articles} articles
# of SQuAD 2.0 (CC BY-SA 4.0); no text of them is kept here.
"""


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--memory", type=Path)
    asked.add_argument("--write", action="store_true", help="write the weights into the package")
    options = asked.parse_args()
    models = EmbeddedModels(options.memory)
    found = await read_all(options.data, models)
    models.remember()
    own = [one for one in found if one.way is Way.OWN]
    with_answer = [one for one in own if one.answers]
    before, after = (np.mean([getattr(one, name) for one in with_answer]) for name in ("held_before", "held"))
    print(f"the best sentence holds the answer: {before:.3f} by the cross-encoder, {after:.3f} with the reader")
    crossed = []
    articles = sorted({one.article for one in own})
    for article in articles:
        rest = [one for one in found if one.article != article]
        mine = [one for one in own if one.article == article]
        crossed += measured(mine, *fit_answerable(rest), fit_short(rest))
    show("each article by the other", crossed)
    bias, weights = fit_answerable(found)
    short = fit_short(found)
    print(f"bias {bias:.3f}", dict(zip(answerable.NAMES, weights.round(3).tolist(), strict=True)), short)
    if options.write:
        lines = [HEADER.format(count=len(found), articles=len(articles)) + f"bias = {bias:.5f}", "", "[weights]"]
        lines += [f"{name} = {value:.5f}" for name, value in zip(answerable.NAMES, weights, strict=True)]
        lines += ["", "[short_answer]", f"bias = {short[0]:.5f}", f"slope = {short[1]:.5f}"]
        (WEIGHTS / "answerable.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
