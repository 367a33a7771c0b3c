"""One replica of an agent: how it is reached, whether it serves and is awake, and what it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.reaching.agent_run import AgentRun, Sink, Task
from answermesh.orchestrator.reaching.cards import check_card
from answermesh.orchestrator.reaching.own_stream import OwnStream
from answermesh.orchestrator.reaching.shared_stream import SharedStream
from answermesh.orchestrator.reaching.standing import Standing
from answermesh.rpc.channel import open_channel
from answermesh.rpc.status import failure_from
from answermesh.v1.agent_service_pb2 import GetCardRequest
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.mesh_pb2 import Agent, AgentCard

# How long an agent may take to give its card.
CARD_S = 5.0
# How often a replica with runs is asked whether it is awake, and how long it may take to say so, twice in a row: once
# may be a busy machine. A reader waits for 1.5 s at most until its run is made elsewhere.
PROBE_S, AWAKE_S, MISSES = 0.3, 0.6, 2
# Pauses between looks at an agent that does not answer.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


class Replica:
    """Closed by its owner. Streams that its runs share live in `tasks`."""

    def __init__(self, agent: str, target: str, tasks: asyncio.TaskGroup, card: AgentCard | None) -> None:
        self.agent = agent
        self.target = target
        self.card = card
        self.serving = False
        # Why it does not serve.
        self.message = "has not answered yet"
        # Whether its server leaves calls unanswered, as a process that is stopped does; its kernel still takes them.
        self.hangs = False
        # Whether it is to get no more runs.
        self.retired = False
        self.standing = Standing()
        # Runs that have begun and are not over.
        self.runs: set[AgentRun] = set()
        self._channel = open_channel(target)
        self._tasks = tasks
        self._shared = SharedStream(self._channel, tasks)
        # Streams to a server that is about to stop, which still has runs to end; its successor gets the new ones.
        self._left: set[SharedStream] = set()
        self._brings_card = card is not None

    @property
    def draining(self) -> bool:
        """Whether it is about to stop, so that no run should begin there."""
        return self._shared.draining

    def to_proto(self) -> Agent.Replica:
        """The replica as the API shows it."""
        return Agent.Replica(
            target=self.target,
            health=Agent.HEALTH_SERVING if self.serving and not self.hangs else Agent.HEALTH_NOT_SERVING,
            health_message="does not answer in time" if self.serving and self.hangs else self.message,
            running_count=len(self.runs),
            ejected=not self.standing.may_run(asyncio.get_running_loop().time()),
        )

    def start(self, task: Task, sink: Sink, tasks: asyncio.TaskGroup) -> AgentRun:
        """Begin a run, on the stream that all share if the agent offers that, else on one of its own in `tasks`."""
        if self.card is not None and self.card.multiplexed and not self._shared.refused:
            if self._shared.draining:
                self._left = {stream for stream in self._left if stream.draining} | {self._shared}
                self._shared = SharedStream(self._channel, self._tasks)
            return self._shared.start(task, sink)
        return OwnStream(self._channel, task, sink, tasks)

    async def probe(self, is_alone: Callable[[], bool]) -> None:
        """Find out whether it hangs, while it has runs; cuts them off then, for others to take them.

        Where it `is_alone`, nobody could, and it is left to the connection's keepalive.
        """
        stub = health_pb2_grpc.HealthStub(self._channel)
        misses = 0
        while True:
            if not misses:
                await asyncio.sleep(PROBE_S)
            if not self.hangs and (not self.runs or is_alone()):
                misses = 0
                continue
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=AWAKE_S)
                misses = 0
            except grpc.aio.AioRpcError as error:
                # Any other answer is one, and a connection that is gone tells the runs by itself.
                misses = misses + 1 if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else 0
            if self.hangs and not misses:
                self.standing.came_back()
            self.hangs = misses >= MISSES
            if self.hangs and not is_alone():
                for run in list(self.runs):
                    run.fail(Failure(Reason.SERVICE_UNAVAILABLE, f"{self.agent} at {self.target} does not answer."))

    async def ready(self) -> None:
        """Wait until its channel is connected to a server that serves."""
        await self._channel.channel_ready()

    async def close(self) -> None:
        """Cut off all that it is doing."""
        for stream in (self._shared, *self._left):
            stream.close()
        await self._channel.close()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Keep card and health true until cancelled; `changed` is called after each change."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async for status in _health(self._channel):
                    if status == health_pb2.HealthCheckResponse.SERVING:
                        if not self._brings_card:
                            await self._fetch_card()
                        self._shared.refused = False
                        self._set(True, "", changed)
                        pause_s = FIRST_PAUSE_S
                    else:
                        self._set(False, "says that it is not serving", changed)
                ended = "ended its health stream"
            except Failure as failure:
                ended = failure.message
            self._set(False, ended, changed)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _fetch_card(self) -> None:
        try:
            response = await AgentServiceStub(self._channel).GetCard(GetCardRequest(), timeout=CARD_S)
        except grpc.aio.AioRpcError as error:
            raise failure_from(error) from error
        self.card = check_card(response.card, agent=self.agent)

    def _set(self, serving: bool, message: str, changed: Callable[[], None]) -> None:
        if (self.serving, self.message) != (serving, message):
            if serving and not self.serving:
                self.standing.came_back()
            self.serving, self.message = serving, message
            changed()


async def _health(channel: grpc.aio.Channel) -> AsyncIterator[int]:
    """What a server's health service says, now and whenever it changes.

    Raises Failure where it cannot be asked. A server without the service counts as serving, while it is connected.
    """
    call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
    try:
        async for response in call:
            yield response.status
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            async for status in _connectivity(channel):
                yield status
        raise failure_from(error) from error
    finally:
        with suppress(Exception):
            call.cancel()


async def _connectivity(channel: grpc.aio.Channel) -> AsyncIterator[int]:
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.SHUTDOWN:
        serving = state is grpc.ChannelConnectivity.READY
        yield health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
