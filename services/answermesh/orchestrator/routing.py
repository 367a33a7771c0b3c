"""What sort of question is asked, and by which plan such questions are answered. Rules over the wording; no I/O.

[routes]                       # a plan for each kind; those not named keep the plan below
comparison = "thorough"
search = "search"
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from answermesh.errors import invalid_field
from answermesh.orchestrator.answering.plan import DEFAULT, SEARCH, Plan
from answermesh.v1.query_pb2 import Route

# Kinds by their names in the settings, and the plans that they have unless others are named.
KINDS = {
    "factual": Route.KIND_FACTUAL,
    "comparison": Route.KIND_COMPARISON,
    "multi_hop": Route.KIND_MULTI_HOP,
    "verification": Route.KIND_VERIFICATION,
    "search": Route.KIND_SEARCH,
}
# Keywords need no entities and no graph, which look for what a question speaks of.
DEFAULTS = {Route.KIND_SEARCH: SEARCH.name}
# Longer than this, a text without a question is more than keywords.
MAX_KEYWORDS = 8
# A question of more words asks for more than one thing.
MANY_WORDS = 24

_ASKING = r"(?:who|whom|whose|what|which|when|where|why|how)"
_ASKS = re.compile(rf"\b{_ASKING}\b", re.IGNORECASE)
_YES_OR_NO = re.compile(
    r"^\W*(?:is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|should|must|may|might)\b(?!\s+not\b)"
    r"|\bis\s+it\s+(?:true|correct|so)\b|\btrue\s+or\s+false\b",
    re.IGNORECASE,
)
_COMPARES = re.compile(
    r"\b(?:compare[ds]?|comparison|versus|vs\.?|differ(?:s|ent)?\s+from|differences?\s+(?:\w+\s+){0,3}between|"
    r"similarit(?:y|ies)\s+between|trade-?offs?\s+between|in\s+common)\b"
    r"|\b(?:which|who|what)\b.{0,80}\b(?:more|less|fewer|\w{2,}er|first|later|earlier|older|younger)\b.{0,80}\bor\b"
    r"|^\W*(?:are|were|do|did|is|have)\b.{1,80}\band\b.{1,80}\b(?:both|the\s+same|each)\b|\bboth\b.{1,80}\band\b",
    re.IGNORECASE,
)
# A thing named by what it did or whose it is: "the director of the film that …", "the wife of the author of".
_BY_WAY = re.compile(
    r"\b(?:of|by|in|from|to|with|for)\s+(?:the|a|an)\s+[^,?]{1,60}?\b(?:who|whom|that|which|whose|where|in\s+which)\b"
    r"|\bthe\s+\w+\s+of\s+the\s+\w+(?:\s+\w+)?\s+(?:of|who|that|which)\b"
    r"|\b\w+'s\s+\w+'s\b|\b(?:who|that|which|whose)\b[^,?]{2,80}\b(?:who|that|which|whose)\b",
    re.IGNORECASE,
)


class Routes:
    """The plan for each kind of question."""

    def __init__(self, table: Mapping[str, object], plans: Mapping[str, Plan]) -> None:
        """Raises Failure(INVALID_FIELD) for a kind or a plan that there is none of."""
        # A default plan of somebody's own may stand for other agents than ours: then nothing is routed past it unasked.
        self._plans = dict(DEFAULTS) if plans.get(DEFAULT.name) is DEFAULT else {}
        for name, plan in table.items():
            if name not in KINDS:
                raise invalid_field(f"routes.{name}", f"is no kind of question; there are {', '.join(KINDS)}.")
            if not isinstance(plan, str) or plan not in plans:
                raise invalid_field(f"routes.{name}", f"is {plan!r}; name a plan of [plans], default or search.")
            self._plans[KINDS[name]] = plan

    def route(self, question: str, plan: str) -> Route:
        """The route of a question; `plan` is what its caller named, or empty."""
        kind = kind_of(question)
        return Route(
            kind=kind,
            difficulty=difficulty_of(question, kind),
            plan=plan or self._plans.get(kind, DEFAULT.name),
            overridden=bool(plan),
            question=question,
        )


def kind_of(question: str) -> Route.Kind.ValueType:
    """The sort of question; KIND_UNSPECIFIED where the wording leaves it open."""
    text = " ".join(question.split())
    if _COMPARES.search(text):
        return Route.KIND_COMPARISON
    if _BY_WAY.search(text) and (_ASKS.search(text) or text.endswith("?")):
        return Route.KIND_MULTI_HOP
    if _YES_OR_NO.search(text) and text.endswith("?"):
        return Route.KIND_VERIFICATION
    if _ASKS.search(text):
        return Route.KIND_FACTUAL
    if not text.endswith(("?", ".", "!")) and len(text.split()) <= MAX_KEYWORDS:
        return Route.KIND_SEARCH
    return Route.KIND_UNSPECIFIED


def difficulty_of(question: str, kind: Route.Kind.ValueType) -> Route.Difficulty.ValueType:
    """How much a question asks for."""
    several = kind in (Route.KIND_COMPARISON, Route.KIND_MULTI_HOP) or question.count("?") > 1
    return Route.DIFFICULTY_HARD if several or len(question.split()) > MANY_WORDS else Route.DIFFICULTY_SIMPLE
