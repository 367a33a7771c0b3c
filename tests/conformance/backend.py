"""The gRPC service behind the gateway in the transcoding cases: it tells what reached it.

    python backend.py GENERATED     the folder of the stubs made from proto/; prints the address it listens on

Every binding RPC answers with Seen{rpc, probe}: the name of the method that
was called and the request exactly as it arrived.
"""

from __future__ import annotations

import asyncio
import sys

sys.path.insert(0, sys.argv[1])

import grpc
from google.api import httpbody_pb2
from google.protobuf import any_pb2, duration_pb2, struct_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection
from gwconf.v1 import legacy_pb2, legacy_pb2_grpc
from gwconf.v1 import probe_pb2 as pb
from gwconf.v1 import probe_pb2_grpc as rpc


def _echo(name: str):
    async def handler(self, request, context):
        return pb.Seen(rpc=name, probe=request)

    handler.__name__ = name
    return handler


def _echo_service(base, methods):
    return type("Echo" + base.__name__, (base,), {m: _echo(m) for m in methods})


Paths = _echo_service(
    rpc.PathsServicer,
    [m.name for m in pb.DESCRIPTOR.services_by_name["Paths"].methods],
)

PARTS = {
    "nest": {"label": "inner", "depth": 3, "big": 9007199254740993},
    "nests": [{"label": "a"}, {"label": "b", "depth": 2}],
    "words": ["x", "y z"],
    "labels": {"k": "v"},
    "text": 'plain "text"',
    "i64": 9007199254740993,
    "hue": "HUE_GREEN",
}

EchoBodies = _echo_service(
    rpc.BodiesServicer,
    [m.name for m in pb.DESCRIPTOR.services_by_name["Bodies"].methods if m.output_type.name == "Seen"],
)


class Bodies(EchoBodies):
    async def ReplyNest(self, request, context):
        out = pb.Parts(**PARTS)
        out.info.update({"a": 1, "b": [True, None, "s"]})
        out.ts.FromJsonString("2024-02-29T12:30:45.120Z")
        out.w_str.value = "wrapped"
        return out

    async def EmptyReply(self, request, context):
        return request

    async def StructWhole(self, request, context):
        return request

    async def ValueWhole(self, request, context):
        return request

    async def Gallery(self, request, context):
        p = pb.Probe()
        piece = request.piece
        if piece == "ints":
            p.i32 = -2147483648
            p.i64 = -9223372036854775808
            p.u32 = 4294967295
            p.u64 = 18446744073709551615
            p.s32 = -1
            p.s64 = 9007199254740993
            p.f32 = 7
            p.f64 = 8
            p.sf32 = -7
            p.sf64 = -8
        elif piece == "floats":
            p.flt = 1.5
            p.dbl = 0.1
            p.dbls.extend([1.0, -2.5, 1e300, 1e-300, float("inf"), float("-inf"), float("nan")])
        elif piece == "float32":
            p.flt = 0.1
        elif piece == "text":
            p.text = 'a"b\\c/d\n\t\x01\u00e9\u4e16\U0001f600\u2028<&>'
        elif piece == "blob":
            p.blob = bytes([0, 251, 255, 62, 63])
        elif piece == "enums":
            p.hue = pb.HUE_DEEP_BLUE
            p.hues.extend([0, 1, 3])
        elif piece == "unknown_enum":
            p.hue = 77
        elif piece == "times":
            for s in (
                "1970-01-01T00:00:00Z",
                "2024-02-29T12:30:45.120Z",
                "2024-02-29T12:30:45.000120Z",
                "2024-02-29T12:30:45.000000120Z",
                "0001-01-01T00:00:00Z",
                "9999-12-31T23:59:59.999999999Z",
            ):
                p.stamps.add().FromJsonString(s)
            for sec, nanos in ((0, 0), (1, 500000000), (-1, -500000000), (0, -1000), (315576000000, 0), (3, 1)):
                p.spans.append(duration_pb2.Duration(seconds=sec, nanos=nanos))
        elif piece == "mask":
            p.mask.paths.extend(["name", "nest.big", "snake_case_name"])
        elif piece == "struct":
            p.info.update({"n": None, "t": True, "i": 3, "f": 2.5, "s": "x", "l": [1, [2]], "o": {"k": {}}})
            p.anyval.list_value.values.add().string_value = "in"
            p.items.values.add().number_value = 4
        elif piece == "null_value":
            p.anyval.null_value = struct_pb2.NULL_VALUE
        elif piece == "wrappers":
            p.w_str.value = ""
            p.w_i32.value = 0
            p.w_i64.value = 9007199254740993
            p.w_u64.value = 18446744073709551615
            p.w_bool.value = False
            p.w_dbl.value = 2.5
            p.w_bytes.value = b"\xff\xfe"
            p.w_list.add().value = 5
        elif piece == "maps":
            p.labels["a"] = "1"
            p.labels[""] = "empty"
            p.slots[-3].label = "minus"
            p.votes[True] = 9007199254740993
            p.palette["sky"] = pb.HUE_DEEP_BLUE
        elif piece == "any":
            p.extra.Pack(pb.Nest(label="packed", big=5))
        elif piece == "any_wkt":
            p.extra.Pack(duration_pb2.Duration(seconds=1, nanos=500000000))
        elif piece == "presence":
            p.maybe_num = 0
            p.maybe_text = ""
            p.pick_num = 0
            p.nest.SetInParent()
            p.none.SetInParent()
        elif piece == "names":
            p.snake_case_name = "s"
            p.renamed = "r"
        elif piece == "unknown_field":
            return pb.Probe.FromString(b"\xf8\x7f\x05" + pb.Probe(name="known").SerializeToString())
        elif piece == "default":
            pass
        else:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such piece")
        return p


class Amends(rpc.AmendsServicer):
    async def Amend(self, request, context):
        out = pb.AmendReply(probe=request.probe, dry_run=request.dry_run)
        if request.HasField("update_mask"):
            out.update_mask.CopyFrom(request.update_mask)
        return out


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class Blobs(rpc.BlobsServicer):
    async def FetchBlob(self, request, context):
        if request.name == "png":
            return httpbody_pb2.HttpBody(content_type="image/png", data=PNG)
        if request.name == "csv":
            return httpbody_pb2.HttpBody(content_type="text/csv; charset=utf-8", data="a,b\n1,\u00e9\n".encode())
        if request.name == "empty":
            return httpbody_pb2.HttpBody(content_type="text/plain")
        if request.name == "untyped":
            return httpbody_pb2.HttpBody(data=b"raw")
        if request.name == "big":
            return httpbody_pb2.HttpBody(content_type="application/octet-stream", data=b"z" * 1_000_000)
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        return None

    async def StreamBlob(self, request, context):
        for i in range(3):
            body = httpbody_pb2.HttpBody(data=b"part%d;" % i)
            if i == 0:
                body.content_type = "text/plain"
            yield body

    def _seen(self, body, **kw):
        return pb.BlobSeen(content_type=body.content_type, size=len(body.data), head=body.data[:16], **kw)

    async def SendBlob(self, request, context):
        return self._seen(request.body, name=request.name, note=request.note, parts=1)

    async def SendRaw(self, request, context):
        return self._seen(request, parts=1)

    async def SendBlobStream(self, request_iterator, context):
        seen = pb.BlobSeen()
        data = b""
        async for m in request_iterator:
            seen.parts += 1
            if not seen.name:
                seen.name = m.name
            if not seen.content_type:
                seen.content_type = m.body.content_type
            data += m.body.data
        seen.size = len(data)
        seen.head = data[:16]
        return seen


JOURNAL: dict[str, list[int]] = {}


class Streams(rpc.StreamsServicer):
    async def Count(self, request, context):
        row = JOURNAL.setdefault(request.tag, [0, 0, 0])
        row[0] += 1
        try:
            for n in range(1, request.upto + 1):
                if request.pause_ms:
                    await asyncio.sleep(request.pause_ms / 1000)
                yield pb.Tick(n=n, text=f"tick {n}" + "x" * request.pad, big=9007199254740993)
                if request.fail_after and n == request.fail_after:
                    await context.abort(_code(request.fail_code), "stream broke")
            if request.fail_code and not request.fail_after:
                await context.abort(_code(request.fail_code), "stream broke early")
            row[1] += 1
        except asyncio.CancelledError:
            row[2] += 1
            raise

    async def Gather(self, request_iterator, context):
        out = pb.Tally()
        async for c in request_iterator:
            out.count += 1
            out.sum += c.n
            if c.text:
                out.texts.append(c.text)
            if c.name:
                out.name = c.name
        return out

    async def Chat(self, request_iterator, context):
        async for c in request_iterator:
            yield pb.Tick(n=c.n, text=c.text.upper())


def _code(n: int) -> grpc.StatusCode:
    for c in grpc.StatusCode:
        if c.value[0] == n:
            return c
    return grpc.StatusCode.UNKNOWN


def _details(kind: str) -> list:
    out = []

    def add(msg):
        a = any_pb2.Any()
        a.Pack(msg)
        out.append(a)

    if kind in ("badrequest", "many"):
        br = error_details_pb2.BadRequest()
        br.field_violations.add(field="probe.name", description="too short")
        add(br)
    if kind in ("errorinfo", "many"):
        add(error_details_pb2.ErrorInfo(reason="STOCKOUT", domain="gwconf.example", metadata={"zone": "z1"}))
    if kind in ("retry", "many"):
        add(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500000000)))
    if kind == "custom":
        add(pb.Nest(label="why", big=7))
    if kind == "unknown":
        out.append(any_pb2.Any(type_url="type.googleapis.com/gwconf.v1.NotInThePool", value=b"\x08\x01"))
    return out


class Trouble(rpc.TroubleServicer):
    async def Fail(self, request, context):
        if request.code == 0:
            return request
        if request.details:
            st = status_pb2.Status(code=request.code, message=request.message, details=_details(request.details))
            context.set_trailing_metadata((("grpc-status-details-bin", st.SerializeToString()),))
        await context.abort(_code(request.code), request.message)
        return None

    async def _peek(self, request, context):
        out = pb.PeekReply(remaining_ms=-1)
        for k, v in context.invocation_metadata():
            if isinstance(v, bytes):
                v = "hex:" + v.hex()
            out.headers[k] = out.headers[k] + "," + v if k in out.headers else v
        left = context.time_remaining()
        if left is not None and left < 1e9:
            out.remaining_ms = int(left * 1000)
        if request.set_headers:
            await context.send_initial_metadata(
                (("x-backend", "one"), ("x-backend", "two"), ("x-blob-bin", b"\x00\xff"))
            )
            context.set_trailing_metadata((("x-tail", "end"),))
        return out

    async def Peek(self, request, context):
        return await self._peek(request, context)

    async def Nap(self, request, context):
        row = JOURNAL.setdefault(request.tag, [0, 0, 0])
        row[0] += 1
        try:
            await asyncio.sleep(min(request.sleep_ms, 20000) / 1000)
            row[1] += 1
        except asyncio.CancelledError:
            row[2] += 1
            raise
        return await self._peek(request, context)

    async def Journal(self, request, context):
        row = JOURNAL.get(request.tag, [0, 0, 0])
        return pb.JournalReply(started=row[0], finished=row[1], cancelled=row[2])

    async def Size(self, request, context):
        return pb.SizeReply(got=len(request.text), text="y" * min(request.size, 64_000_000))


class Legacy(legacy_pb2_grpc.LegacyServicer):
    async def OldEcho(self, request, context):
        return request


async def main() -> None:
    server = grpc.aio.server(
        options=(
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.max_send_message_length", 64 << 20),
        )
    )
    rpc.add_PathsServicer_to_server(Paths(), server)
    rpc.add_BodiesServicer_to_server(Bodies(), server)
    rpc.add_AmendsServicer_to_server(Amends(), server)
    rpc.add_BlobsServicer_to_server(Blobs(), server)
    rpc.add_StreamsServicer_to_server(Streams(), server)
    rpc.add_TroubleServicer_to_server(Trouble(), server)
    legacy_pb2_grpc.add_LegacyServicer_to_server(Legacy(), server)
    names = [s.full_name for s in pb.DESCRIPTOR.services_by_name.values()]
    names += [s.full_name for s in legacy_pb2.DESCRIPTOR.services_by_name.values()]
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
