"""The agents that come with answermesh, by name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from answermesh.agents import Agent
from answermesh.agents.citation import Citation
from answermesh.agents.entities import Entities
from answermesh.agents.factcheck import Factcheck
from answermesh.agents.graph import Graph
from answermesh.agents.retrieval import Retrieval
from answermesh.agents.synthesis import Synthesis
from answermesh.config import Settings
from answermesh.errors import not_found


def open_agent(name: str, settings: Settings) -> AbstractAsyncContextManager[Agent]:
    """An agent of ours, with what it needs; closed when the context is left.

    Raises Failure(NOT_FOUND) for another name.
    """
    match name:
        case "entities":
            return Entities.open(settings)
        case "retrieval":
            return Retrieval.open(settings)
        case "graph":
            return Graph.open(settings)
        case "synthesis":
            return Synthesis.open(settings)
        case "citation":
            return Citation.open(settings)
        case "factcheck":
            return Factcheck.open(settings)
        case _:
            raise not_found(f"agents/{name}")
