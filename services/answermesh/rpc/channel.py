"""Channels that balance, retry, notice a hung peer, and pass the caller's deadline on."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from answermesh.errors import invalid_field
from answermesh.rpc import options
from answermesh.rpc.deadline import remaining_s


def open_channel(
    target: str | Sequence[str],
    *,
    keepalive: options.Keepalive = options.Keepalive(),  # noqa: B008 - frozen
    credentials: grpc.ChannelCredentials | None = None,
    authority: str = "",
    ours: bool = True,
) -> grpc.aio.Channel:
    """A channel to one gRPC target, or to several replicas that are taken in turn.

    Several targets are all `IP:PORT` of one family, or all `unix:PATH`; for names, give the one name that leads to
    all. Each call made through the channel gets what is left of the deadline of the call being served, or its own
    `timeout` if that is less. Close it: `async with open_channel(target) as channel`. Nothing is connected before the
    first call. With `credentials` by TLS; `authority` is the name to ask for, and to check, instead of the target's.
    `ours` tells that calls may be repeated as the mesh's servers allow, and that there is a health service.

    Raises Failure(INVALID_FIELD) for targets that cannot be joined.
    """
    joined = join_targets(target)
    chosen = options.channel_options(keepalive=keepalive, ours=ours)
    if authority:
        chosen.append(("grpc.default_authority", authority))
    if credentials is None:
        return _Channel(grpc.aio.insecure_channel(joined, options=chosen))
    if authority:
        chosen.append(("grpc.ssl_target_name_override", authority))
    return _Channel(grpc.aio.secure_channel(joined, credentials, options=chosen))


def join_targets(target: str | Sequence[str]) -> str:
    """One gRPC target that leads to all of `target`."""
    targets = [target] if isinstance(target, str) else list(dict.fromkeys(target))
    if not targets or not all(targets):
        raise invalid_field("targets", "is empty; give at least one gRPC target, e.g. '127.0.0.1:50051'.")
    if len(targets) == 1:
        return targets[0]
    split = [_split(one) for one in targets]
    schemes = {scheme for scheme, _ in split}
    if len(schemes) == 1 and (scheme := schemes.pop()):
        return f"{scheme}:{','.join(address for _, address in split)}"
    raise invalid_field(
        "targets",
        f"{', '.join(targets)} cannot be joined: give addresses of one kind (IP:PORT, or unix:PATH), "
        "or one name that leads to all, e.g. 'dns:///agent:50051'.",
    )


def split_targets(target: str) -> list[str]:
    """The targets that `join_targets` made one of, or the one that it is."""
    scheme, _ = _split(target)
    return [f"{scheme}:{address}" for address in _split(target)[1].split(",")] if scheme and "," in target else [target]


def _split(target: str) -> tuple[str, str]:
    """Scheme and address of a target that gRPC takes a list of; the scheme is empty for all others."""
    if target.startswith("unix:"):
        return "unix", target.removeprefix("unix:").removeprefix("//")
    for scheme in ("ipv4", "ipv6"):
        if target.startswith(scheme + ":"):
            return scheme, target.removeprefix(scheme + ":")
    host = target.rpartition(":")[0]
    try:
        return f"ipv{ipaddress.ip_address(host.strip('[]')).version}", target
    except ValueError:
        return "", target


class _Channel(grpc.aio.Channel):
    """A channel whose calls end with the call that is being served.

    Not an interceptor: those of grpc.aio put a task and a second call object around each call, and once leaked
    streams. This only chooses the timeout.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _bounded(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _bounded(self._channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _bounded(self._channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _bounded(self._channel.stream_stream(*args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._channel.__aexit__(exc_type, exc_val, exc_tb)


def _bounded(multicallable: Callable[..., Any]) -> Callable[..., Any]:
    def call(request: Any = None, timeout: float | None = None, **kwargs: Any) -> Any:
        left = remaining_s()
        if left is not None:
            timeout = left if timeout is None else min(timeout, left)
        return multicallable(request, timeout=timeout, **kwargs)

    return call
