"""The suites by name, each loaded when it is asked for: a suite is one line here and one file beside it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from answermesh.evaluation.suite import Suite

# Name → module and class.
_SUITES = {
    "retrieval": "answermesh.evaluation.suites.retrieval:Retrieval",
    "graph": "answermesh.evaluation.suites.graph:Graph",
    "claims": "answermesh.evaluation.suites.claims:Claims",
    "qa": "answermesh.evaluation.suites.qa:Questions",
    "citations": "answermesh.evaluation.suites.citations:Citations",
    "chunking": "answermesh.evaluation.suites.chunking:Chunking",
    "ingest": "answermesh.evaluation.suites.ingest:Ingest",
    "injection": "answermesh.evaluation.suites.injection:Injection",
}
NAMES = tuple(_SUITES)


def suite(name: str) -> Suite:
    """The suite of one of NAMES."""
    module, _, attribute = _SUITES[name].partition(":")
    made: Suite = getattr(import_module(module), attribute)()
    return made


def suites(names: Iterable[str]) -> dict[str, Suite]:
    """Those of these names that there are: a kept run may name one that is gone."""
    return {name: suite(name) for name in names if name in _SUITES}
