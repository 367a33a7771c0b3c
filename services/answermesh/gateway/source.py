"""Where the plan comes from, and when it is made anew: a descriptor set once, or reflection again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from google.protobuf import descriptor_pb2

from answermesh.gateway.application import Gateway
from answermesh.gateway.descriptors import reflection, schema
from answermesh.gateway.descriptors.json_names import fill_json_names
from answermesh.gateway.plan import compile_plan
from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.calls import Upstream

_log = logging.getLogger("answermesh.gateway")

# Asking for an unchanged schema of a dozen files costs the service some milliseconds.
POLL_S = 15.0
_RETRY_FIRST_S, _RETRY_MOST_S = 0.1, 2.0


def check(descriptor_set: bytes) -> None:
    """Raises schema.SchemaError for a set that cannot be used."""
    schema.load(descriptor_set)


def install(gateway: Gateway, descriptor_set: bytes) -> None:
    """Let the gateway serve by this set. Raises schema.SchemaError; the gateway then keeps what it has."""
    options = gateway.options
    plan = compile_plan(schema.load(descriptor_set), strict=options.strict, resumes=options.resumes)
    gateway.use(plan)
    _log.info("serving %d methods, %d HTTP rules", len(plan.rpcs), len(plan.bindings))


async def follow(
    gateway: Gateway,
    upstream: Upstream,
    *,
    poll_s: float = POLL_S,
    documentation: bytes = b"",
    on_first: Callable[[], None] | None = None,
) -> None:
    """Keep the gateway's plan that of the upstream's reflection, until cancelled.

    Asks every `poll_s`, and at once after the upstream was not there; before the first answer, again after 0.1 s
    growing to 2 s. `documentation` is a descriptor set with comments for files that reflection gives without them.
    `on_first` is called when the first plan is in use.
    """
    current = b""
    retry_s = _RETRY_FIRST_S
    while True:
        wait_s = poll_s
        try:
            fetched = await reflection.fetch(upstream)
            if fetched != current:
                install(gateway, documented(fetched, documentation))
                first, current = not current, fetched
                if first and on_first is not None:
                    on_first()
            gateway.upstream_lost.clear()
            retry_s = _RETRY_FIRST_S
        except (CallError, schema.SchemaError) as error:
            (_log.debug if retry_s == _RETRY_FIRST_S else _log.warning)("no schema from the upstream: %s", error)
            wait_s, retry_s = retry_s, min(retry_s * 2, _RETRY_MOST_S)
            await asyncio.sleep(wait_s)
            continue
        try:
            async with asyncio.timeout(wait_s):
                await gateway.upstream_lost.wait()
        except TimeoutError:
            pass


def documented(descriptor_set: bytes, documentation: bytes) -> bytes:
    """The set with the comments of those files that are the same in `documentation`."""
    if not documentation:
        return descriptor_set
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    known = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(documentation).file}
    for file in files.file:
        commented = known.get(file.name)
        if commented is None or file.HasField("source_code_info"):
            continue
        comments = descriptor_pb2.SourceCodeInfo()
        comments.CopyFrom(commented.source_code_info)
        commented.ClearField("source_code_info")
        if _bare(commented) == _bare(file):
            file.source_code_info.CopyFrom(comments)
    return files.SerializeToString(deterministic=True)


def _bare(file: descriptor_pb2.FileDescriptorProto) -> bytes:
    """The file with all its JSON names, which reflection may leave out."""
    copy = descriptor_pb2.FileDescriptorProto()
    copy.CopyFrom(file)
    fill_json_names(copy)
    return copy.SerializeToString(deterministic=True)
