"""Where the plan comes from, and when it is made anew: descriptor sets, and the reflection of each upstream.

Each upstream is asked by a task of its own, so one that is down or hangs takes nothing from the others: what it offered
last stays, and its calls are 503. A schema that cannot be used is told in the log, and the one before stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf import descriptor_pb2

from answermesh.errors import Failure
from answermesh.gateway.application import Gateway
from answermesh.gateway.descriptors import reflection, schema
from answermesh.gateway.descriptors.merging import Merged, Source, bare, merge, parsed, services_of
from answermesh.gateway.plan import compile_plan
from answermesh.gateway.setup import Member, read_sets
from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.by_service import ByService
from answermesh.gateway.upstream.calls import Upstream

_log = logging.getLogger("answermesh.gateway")

# Asking for an unchanged schema of a dozen files costs the service some milliseconds.
POLL_S = 15.0
_RETRY_FIRST_S, _RETRY_MOST_S = 0.1, 2.0
# A call that found no upstream has all of them asked again, but none more often than this.
_ASK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """An upstream with the way to call it."""

    member: Member
    calls: Upstream


class SchemaSource:
    """Keeps a gateway's plan, and who is called for which service, up to date.

    `routes` is what the gateway calls; None where there is one upstream, which is called directly.
    """

    def __init__(
        self,
        gateway: Gateway,
        upstreams: Sequence[Asked],
        routes: ByService | None = None,
        *,
        documentation: bytes = b"",
        poll_s: float = POLL_S,
    ) -> None:
        self._gateway = gateway
        self._upstreams = upstreams
        self._routes = routes
        self._documentation = documentation
        self._poll_s = poll_s
        self._sets: tuple[bytes, ...] = ()
        self._sources = [Source(one.member.target, one.member.services) for one in upstreams]
        self._problems: tuple[str, ...] = ()
        self._wake = [asyncio.Event() for _ in upstreams]
        # Set once each upstream was asked, whether it answered or not.
        self.asked = asyncio.Event()
        # Attempts to take up a schema that went well, and that were refused; for the metrics.
        self.taken_up = 0
        self.refused = 0

    # ------------------------------------------------------------ from files
    def read(self, paths: Sequence[Path]) -> None:
        """Take up descriptor sets of files. Raises Failure or schema.SchemaError; what was there before then stays."""
        self.use_sets(read_sets(paths))

    def use_sets(self, sets: Sequence[bytes]) -> None:
        """Take up these descriptor sets. Raises schema.SchemaError; what was there before then stays."""
        self._install(tuple(sets), self._sources)

    def reload(self, paths: Sequence[Path]) -> None:
        """Read the files anew and ask all upstreams again; what cannot be used is told in the log."""
        try:
            if paths:
                self.read(paths)
        except (Failure, schema.SchemaError) as error:
            self._refuse("the descriptor sets", error)
        for event in self._wake:
            event.set()

    # ------------------------------------------------------------ by reflection
    async def ask_once(self) -> None:
        """Ask all upstreams; those that do not answer stay unknown."""
        for index in self._to_ask():
            await self._ask(index)

    async def follow(self, on_first: Callable[[], None] | None = None) -> None:
        """Keep up with the reflection of all upstreams, until cancelled.

        `on_first` is called once there is a plan and each upstream was asked once, whether it answered or not.
        """
        unasked = set(self._to_ask())
        told = False

        def asked(index: int) -> None:
            nonlocal told
            unasked.discard(index)
            if not unasked:
                self.asked.set()
            if not unasked and not told and self._gateway.has_plan:
                told = True
                if on_first is not None:
                    on_first()

        asked(-1)
        async with asyncio.TaskGroup() as group:
            for index in self._to_ask():
                group.create_task(self._follow(index, asked))
            group.create_task(self._watch())

    async def _follow(self, index: int, asked: Callable[[int], None]) -> None:
        """Ask one upstream every `poll_s`, and at once when woken; where it does not answer, after 0.1 s up to 2 s."""
        retry_s = _RETRY_FIRST_S
        while True:
            answered = await self._ask(index)
            asked(index)
            if not answered:
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, _RETRY_MOST_S)
                continue
            retry_s = _RETRY_FIRST_S
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._wake[index].wait()
            except TimeoutError:
                pass
            self._wake[index].clear()

    async def _watch(self) -> None:
        """Have all asked again after a call found no upstream: its schema may be another one when it is back."""
        while True:
            await self._gateway.upstream_lost.wait()
            self._gateway.upstream_lost.clear()
            for event in self._wake:
                event.set()
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _ask(self, index: int) -> bool:
        one, source = self._upstreams[index], self._sources[index]
        try:
            found = await reflection.fetch(one.calls, one.member.services)
        except CallError as error:
            _log.log(
                logging.DEBUG if source.descriptor_set else logging.INFO, "no schema from %s: %s", source.origin, error
            )
            return False
        described = documented(found.descriptor_set, self._documentation)
        if described == source.descriptor_set and found.services == source.offered:
            return True
        changed = replace(source, offered=found.services, descriptor_set=described)
        try:
            self._install(self._sets, [*self._sources[:index], changed, *self._sources[index + 1 :]])
        except schema.SchemaError as error:
            self._refuse(source.origin, error)
        return True

    def _to_ask(self) -> list[int]:
        """Without descriptor sets all; else those that are named for a service which no set describes."""
        if not self._sets:
            return list(range(len(self._upstreams)))
        known = set(services_of(file for one in self._sets for file in parsed(one).file))
        return [index for index, source in enumerate(self._sources) if set(source.named) - known]

    # ------------------------------------------------------------ taking up
    def _install(self, sets: tuple[bytes, ...], sources: list[Source]) -> None:
        options = self._gateway.options
        merged = merge(sources, sets)
        loaded = schema.load(merged.descriptor_set, frozenset(merged.owners))
        plan = compile_plan(loaded, strict=options.strict, resumes=options.resumes)
        self._sets, self._sources = sets, sources
        if self._routes is not None:
            self._routes.use({service: self._upstreams[index].calls for service, index in merged.owners.items()})
        self._tell(merged)
        self._gateway.use(plan)
        self.taken_up += 1
        _log.info("serving %d methods, %d HTTP rules", len(plan.rpcs), len(plan.bindings))

    def _tell(self, merged: Merged) -> None:
        for problem in merged.problems:
            if problem not in self._problems:
                _log.warning("%s", problem)
        self._problems = merged.problems

    def _refuse(self, origin: str, error: Exception) -> None:
        self.refused += 1
        _log.error("the new schema of %s is not used, the one before stays: %s", origin, error)


def documented(descriptor_set: bytes, documentation: bytes) -> bytes:
    """The set with the comments of those files that are the same in `documentation`."""
    if not documentation:
        return descriptor_set
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    known = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(documentation).file}
    for file in files.file:
        commented = known.get(file.name)
        if commented is not None and not file.HasField("source_code_info") and bare(commented) == bare(file):
            file.source_code_info.CopyFrom(commented.source_code_info)
    return files.SerializeToString(deterministic=True)
