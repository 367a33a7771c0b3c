"""Trains the reader and writes services/answermesh/models/weights/reader-int8.onnx. Takes half an hour on two cores.

    pip install torch onnx
    python -m bench.reader.train --data DIR [--output FILE] [--epochs N]

First on questions made of relations, once through; then on SQuAD 2.0 and what is made of it. Only articles
that reader.toml names are trained on: what is measured at the end is of the others.
"""

from __future__ import annotations

import argparse
import collections
import math
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from answermesh.config import Settings
from answermesh.evaluation.answers import exact_match, token_f1
from answermesh.evaluation.sets import trained_on
from answermesh.models import fetch
from answermesh.models.encoder import Scorer, as_row
from answermesh.models.manifest import EMBEDDED, RERANKER, TOKENIZER
from answermesh.models.reader import best_piece
from bench.reader import network
from bench.reader.examples import Example, relations, squad, variants

WEIGHTS = Path(__file__).parents[2] / "services" / "answermesh" / "models" / "weights" / "reader-int8.onnx"
# Texts in a step, and of how many the like in length are put together.
BATCH = 16
POOL = 20 * BATCH
# Step sizes of the two rounds; that of the last, new layer is so many times as large.
RELATIONS_RATE = 1e-4
SQUAD_RATE = 8e-5
NEW_LAYER = 5.0
WARM_UP = 0.1
# Share of the relations' questions that are asked again in the second round.
REPEATED = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An example in tokens, as the cross-encoder's lower layers leave it [tokens, 384]."""

    example: Example
    states: Tensor
    # First and last token of each place of the answer; (0, 0) where there is none.
    spans: Sequence[tuple[int, int]]
    text_start: int
    characters: Sequence[tuple[int, int]]


def prepare(examples: Sequence[Example], scorer: Scorer) -> list[Prepared]:
    """Examples whose answer is not cut off, through the layers that stay as they are."""
    with ThreadPoolExecutor(2) as threads:
        return [one for one in threads.map(lambda example: _prepared(example, scorer), examples) if one]


def _prepared(example: Example, scorer: Scorer) -> Prepared | None:
    [encoding] = scorer.encode(example.question, [example.text])
    row = as_row(encoding)
    tokens = range(row.text_start, len(row) - 1)
    spans = []
    for start, end in example.spans:
        inside = [n for n in tokens if encoding.offsets[n][0] < end and encoding.offsets[n][1] > start]
        if inside and encoding.offsets[inside[-1]][1] >= end:
            spans.append((inside[0], inside[-1]))
    if example.spans and not spans:
        return None
    states = torch.from_numpy(scorer.states(row)[0]).to(torch.bfloat16)
    return Prepared(example, states, spans or [(0, 0)], row.text_start, encoding.offsets)


def train(upper: network.Upper, prepared: Sequence[Prepared], epochs: int, rate: float) -> None:
    """Fit the layers: AdamW, warmed up, then falling to nothing."""
    groups = [
        {"params": list(upper.layers.parameters()), "rate": rate},
        {"params": list(upper.ends.parameters()), "rate": rate * NEW_LAYER},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=0.01)
    total = epochs * math.ceil(len(prepared) / BATCH)
    started_s = time.monotonic()
    lately: collections.deque[float] = collections.deque(maxlen=50)
    for step, batch in enumerate(one for _ in range(epochs) for one in _batches(prepared)):
        upper.train()
        share = min(step / (WARM_UP * total), (total - step) / total)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * share
        loss = _loss(upper, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(upper.parameters(), 1.0)
        optimizer.step()
        lately.append(loss.item())
        if step % 20 == 0:
            print(f"step {step}/{total}, loss {np.mean(lately):.3f}, {time.monotonic() - started_s:.0f} s", flush=True)


def _batches(prepared: Sequence[Prepared]) -> Iterator[list[Prepared]]:
    order = random.sample(prepared, len(prepared))
    pools = [sorted(order[n : n + POOL], key=lambda one: len(one.states)) for n in range(0, len(order), POOL)]
    batches = [pool[n : n + BATCH] for pool in pools for n in range(0, len(pool), BATCH)]
    random.shuffle(batches)
    yield from batches


def _logits(upper: network.Upper, batch: Sequence[Prepared]) -> Tensor:
    """Logits [texts, tokens, 2], and far below what any is for a token that is not the text's nor the first."""
    lengths = [len(one.states) for one in batch]
    states = torch.zeros(len(batch), max(lengths), network.STATES, dtype=torch.bfloat16)
    allowed = torch.zeros(len(batch), max(lengths), 1, dtype=torch.bool)
    for n, one in enumerate(batch):
        states[n, : lengths[n]] = one.states
        allowed[n, 0] = True
        allowed[n, one.text_start : lengths[n] - 1] = True
    with torch.autocast("cpu", torch.bfloat16):
        logits = upper(states, network.seen(lengths))
    return logits.float().masked_fill(~allowed, -1e4)


def _loss(upper: network.Upper, batch: Sequence[Prepared]) -> Tensor:
    """How unlikely all the places of the answers are together, for each of their two ends."""
    likely = _logits(upper, batch).log_softmax(1)
    places = [
        torch.logsumexp(torch.stack([likely[n, first, 0] + likely[n, last, 1] for first, last in one.spans]), 0)
        for n, one in enumerate(batch)
    ]
    return -torch.stack(places).mean() / 2


def measure(upper: network.Upper, prepared: Sequence[Prepared]) -> str:
    """What the reader makes of examples: the piece of those with an answer, and how well both kinds are told apart."""
    upper.eval()
    exact, shared, margins = [], [], {True: [], False: []}
    right = 0
    for one in prepared:
        with torch.no_grad():
            logits = _logits(upper, [one])[0].numpy()
        margin, first, last = best_piece(logits[0], logits[one.text_start : len(logits) - 1], one.text_start)
        answers = one.example.answers
        margins[bool(answers)].append(margin)
        text = one.example.text[one.characters[int(first)][0] : one.characters[int(last)][1]]
        if answers:
            exact.append(max(exact_match(text, gold) for gold in answers))
            shared.append(max(token_f1(text, gold) for gold in answers))
        right += (exact[-1] if margin > 0 else 0.0) if answers else float(margin <= 0)
    with_answer, without = np.array(margins[True]), np.array(margins[False])
    above = np.mean([np.mean(with_answer > one) for one in without])
    count, answerable = len(prepared), f"EM {100 * np.mean(exact):.1f} F1 {100 * np.mean(shared):.1f}"
    return (
        f"{count} questions: EM {100 * right / count:.1f}, silence {100 * len(without) / count:.1f}, "
        f"of the answerable {answerable}, AUC of answerable {above:.3f}"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--output", type=Path, default=WEIGHTS)
    asked.add_argument("--epochs", type=int, default=2, help="of the second round")
    asked.add_argument("--limit", type=int, help="examples of each kind, for a trial")
    options = asked.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    chance = random.Random(1)
    paths = fetch.ensure(Settings().cache_dir, EMBEDDED)
    scorer = Scorer(paths[RERANKER], paths[TOKENIZER])
    examples = squad(options.data)
    seen = [one for one in examples if one.article in trained_on()]
    unseen = prepare([one for one in examples if one.article not in trained_on()][: options.limit], scorer)
    upper = network.Upper(paths[RERANKER])
    told = prepare(relations(options.data, random.Random(0))[: options.limit], scorer)
    print(f"{len(told)} questions of relations", flush=True)
    train(upper, told, 1, RELATIONS_RATE)
    print(measure(upper, unseen), flush=True)
    second = prepare([*seen[: options.limit], *[*variants(seen, chance)][: options.limit]], scorer)
    print(f"{len(second)} questions of SQuAD 2.0", flush=True)
    train(upper, [*second, *(one for one in told if chance.random() < REPEATED)], options.epochs, SQUAD_RATE)
    print(measure(upper, unseen), flush=True)
    network.export(upper, options.output)


if __name__ == "__main__":
    main()
