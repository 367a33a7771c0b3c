"""`answermesh gateway`: HTTP for any gRPC services."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from answermesh.cli import exits
from answermesh.cli.connect import tell
from answermesh.errors import Failure

if TYPE_CHECKING:
    from answermesh.gateway.options import Options
    from answermesh.gateway.setup import Reach

_FILE = click.Path(path_type=Path, dir_okay=False)
_SECONDS = click.FloatRange(min=0, min_open=True)
_BYTES = click.IntRange(min=1)


@click.command()
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    required=True,
    metavar="TARGET[=SERVICE,…]",
    help="gRPC target of the services, and which of them are called there; may be given again.",
)
@click.option(
    "--descriptor-set",
    "descriptor_sets",
    multiple=True,
    type=_FILE,
    help="FileDescriptorSet of the services, instead of their reflection; may be given again.",
)
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="ADDR", help="HOST:PORT, or unix:PATH.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes that answer.")
@click.option("--cors-origin", "cors_origins", multiple=True, default=("*",), show_default=True, metavar="ORIGIN",
              help='Origin that browsers may call from; may be given again; "" for none.')  # fmt: skip
@click.option(
    "--strict/--lenient", default=True, help="Refuse unknown fields and parameters (default), or ignore them."
)
@click.option(
    "--envelope/--bare-status", default=True, help='Errors as {"error": …} (default), or as google.rpc.Status.'
)
@click.option("--max-body", default=72 << 20, show_default=True, type=_BYTES, metavar="BYTES", help="Largest body.")
@click.option("--max-url", default=16 << 10, show_default=True, type=_BYTES, metavar="BYTES", help="Longest URL.")
@click.option("--max-streams", default=10_000, show_default=True, type=click.IntRange(min=1), metavar="N",
              help="Streams under way in one worker.")  # fmt: skip
@click.option("--max-connections", default=20_000, show_default=True, type=click.IntRange(min=1), metavar="N",
              help="Clients connected to one worker.")  # fmt: skip
@click.option("--timeout", default=60.0, show_default=True, type=_SECONDS, metavar="SECONDS",
              help="Deadline of a unary call whose client asks for none.")  # fmt: skip
@click.option("--max-timeout", default=3600.0, show_default=True, type=_SECONDS, metavar="SECONDS",
              help="Longest deadline that a client may ask for.")  # fmt: skip
@click.option("--upstream-tls", is_flag=True, help="Call the upstreams by TLS.")
@click.option("--upstream-ca", type=_FILE, help="Certificates to trust (PEM), instead of the well-known ones.")
@click.option("--upstream-cert", type=_FILE, help="Certificate to show to the upstreams (PEM), with --upstream-key.")
@click.option("--upstream-key", type=_FILE, help="Its private key (PEM).")
@click.option("--upstream-authority", default="", metavar="NAME", help="Host name to ask for, and to check by TLS.")
@click.option("--upstream-keepalive", type=_SECONDS, metavar="SECONDS",
              help="Ping a quiet upstream this often; it must allow it. Default: as often as all allow.")  # fmt: skip
@click.option("--upstream-client", default="http2", show_default=True, type=click.Choice(["http2", "grpc"]),
              help="HTTP/2 client: the gateway's own, or grpc.aio.")  # fmt: skip
@click.option("--metrics/--no-metrics", default=True, help="Serve /metrics (default), or not.")
@click.option("--access-log", default="", metavar="FILE", help='Write a line a request there; "-" for stdout.')
@click.option("--log-level", default="info", show_default=True, help="debug, info, warning or error; to stderr.")
@click.option("--ready-file", type=_FILE, help='Gets {"address": …} when all workers serve.')
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--with-parent", type=int, hidden=True)
@click.option("--place", hidden=True)
def gateway(
    upstreams: tuple[str, ...],
    descriptor_sets: tuple[Path, ...],
    listen: str,
    workers: int,
    log_level: str,
    access_log: str,
    ready_file: Path | None,
    ready_fd: int | None,
    with_parent: int | None,
    place: str | None,
    **chosen: Any,
) -> None:
    """Serve gRPC services over HTTP: REST by google.api.http, gRPC-Web and Connect.

    The services are asked for their schema by server reflection, and again when it changes. Each method goes to the
    upstream that names its service, or else to the first that offers it. SIGHUP reloads files, schema and access log;
    SIGTERM drains.

    \b
    Examples:
      answermesh gateway --upstream localhost:50051
      answermesh gateway --upstream dns:///orders:50051 --listen 0.0.0.0:8080 --workers 2
      answermesh gateway --upstream orders:50051=shop.v1.Orders --upstream users:50051=shop.v1.Users
      answermesh gateway --upstream api.example.com:443 --upstream-tls --descriptor-set shop.binpb
    """
    from answermesh.gateway.setup import Setup, parse_member
    from answermesh.serve.gateway import Place, serve_alone, serve_worker
    from answermesh.serve.logs import log_to_stderr
    from answermesh.serve.one import ready_teller, run_to_end
    from answermesh.serve.stopping import die_with_parent
    from answermesh.serve.workers import serve_workers

    try:
        if with_parent is not None:
            die_with_parent(with_parent)
        log_to_stderr("gateway", log_level)
        setup = Setup(
            members=tuple(map(parse_member, upstreams)),
            descriptor_sets=descriptor_sets,
            options=_options(chosen),
            reach=_reach(chosen),
            access_log=access_log,
        )
        # A worker tells its parent alone.
        ready = ready_teller("gateway", ready_file if place is None else None, ready_fd)
        if place is not None:
            run_to_end("gateway", serve_worker(setup, Place.parse(place), listen, ready))
        elif workers == 1:
            run_to_end("gateway", serve_alone(setup, listen, ready))
        else:
            run_to_end("gateway", serve_workers(sys.argv[1:], listen, workers, ready))
    except Failure as failure:
        tell(failure)
        raise SystemExit(exits.FAILED) from None


def _options(chosen: dict[str, Any]) -> Options:
    from answermesh.gateway.options import Options

    return Options(
        strict=chosen["strict"],
        error_envelope=chosen["envelope"],
        max_body_bytes=chosen["max_body"],
        max_url_bytes=chosen["max_url"],
        max_streams=chosen["max_streams"],
        max_connections=chosen["max_connections"],
        default_timeout_s=chosen["timeout"],
        max_timeout_s=chosen["max_timeout"],
        cors_origins=tuple(origin for origin in chosen["cors_origins"] if origin),
        metrics=chosen["metrics"],
    )


def _reach(chosen: dict[str, Any]) -> Reach:
    from answermesh.gateway.setup import Reach, Tls

    ca, cert, key = chosen["upstream_ca"], chosen["upstream_cert"], chosen["upstream_key"]
    if (cert is None) != (key is None):
        raise click.UsageError("--upstream-cert and --upstream-key go together; give both, or none.")
    return Reach(
        tls=Tls(ca, cert, key) if chosen["upstream_tls"] or ca or cert else None,
        authority=chosen["upstream_authority"],
        keepalive_s=chosen["upstream_keepalive"],
        client=chosen["upstream_client"],
    )
