"""Everything that is known before a request comes: one immutable plan per schema.

A reload builds a new plan beside the old one and swaps the two; requests under way keep theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from protobuf import Registry

from answermesh.gateway.descriptors.schema import Method, Rule, Schema
from answermesh.gateway.routing.router import Router
from answermesh.gateway.routing.template import TemplateError, Variable, parse
from answermesh.gateway.transcoding.fields import FieldEncoder, FieldPathError, field_encoder
from answermesh.gateway.transcoding.reply import ReplyConverter
from answermesh.gateway.transcoding.request import RequestBuilder


@dataclass(frozen=True, slots=True)
class Resume:
    """How a stream is taken up again: `Last-Event-ID` goes to `request_field`; SSE ids come from `id_path`."""

    id_path: str
    # Empty: events have ids, but the method cannot resume.
    request_field: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """One HTTP rule of one method, compiled."""

    method: Method
    rule: Rule
    request: RequestBuilder
    reply: ReplyConverter
    # Sets the request field that Last-Event-ID goes to.
    resume: FieldEncoder | None
    # Whether there is more than one message either way.
    streams: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The compiled schema."""

    schema: Schema
    router: Router[Binding]
    # Every method by "/package.Service/Method".
    rpcs: Mapping[str, Binding]
    # Rules that cannot be served, and paths bound twice: sentences for the log.
    problems: tuple[str, ...]
    bindings: tuple[Binding, ...] = field(default=())

    @property
    def registry(self) -> Registry:
        """What resolves `Any` and extensions."""
        return self.schema.registry


def compile_plan(schema: Schema, *, strict: bool = True, resumes: Mapping[str, Resume] | None = None) -> Plan:
    """The plan of a schema. A rule that cannot be served is left out and told in `problems`.

    `resumes` maps full method names (`package.Service.Method`) to how their streams are resumed.
    """
    router: Router[Binding] = Router()
    rpcs: dict[str, Binding] = {}
    problems: list[str] = []
    bindings: list[Binding] = []
    for method in schema.methods:
        resume = (resumes or {}).get(method.name)
        rpcs[method.path] = _bind(schema, method, Rule("POST", method.path, "*", ""), (), resume, strict)
        for rule in method.rules:
            try:
                template = parse(rule.template)
                binding = _bind(schema, method, rule, template.variables, resume, strict)
            except (TemplateError, FieldPathError) as error:
                problems.append(f"{method.name}: {rule.method} {rule.template} is not served: {error}")
                continue
            router.add(rule.method, template, binding)
            bindings.append(binding)
    return Plan(schema, router, rpcs, (*problems, *router.conflicts), tuple(bindings))


def _bind(
    schema: Schema, method: Method, rule: Rule, variables: tuple[Variable, ...], resume: Resume | None, strict: bool
) -> Binding:
    resume = resume if method.server_streaming else None
    return Binding(
        method=method,
        rule=rule,
        request=RequestBuilder(method.input, rule, variables, schema.registry, strict=strict),
        reply=ReplyConverter(method.output, rule.response_body, schema.registry, resume.id_path if resume else ""),
        resume=field_encoder(method.input, resume.request_field) if resume and resume.request_field else None,
        streams=method.client_streaming or method.server_streaming,
    )
