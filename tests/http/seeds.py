"""Good requests of every protocol that the gateway speaks: what mutations start from."""

from __future__ import annotations

import base64
import struct

from tests.http.raw import request

# Fields of gwconf.v1.Probe on the wire: name = "abc", i32 = 150, nest {label = "x"}.
_PROBE = b"\x0a\x03abc\x10\x96\x01\x92\x01\x03\x0a\x01x"
# CountRequest {upto = 3}.
_COUNT = b"\x08\x03"
_JSON = (
    b'{"name":"abc","i64":"-9223372036854775808","dbl":1.5e3,"flag":true,"blob":"AP8=","hue":"HUE_RED",'
    b'"nest":{"label":"x","child":{"depth":2}},'
    b'"nums":[1,2],"labels":{"k":"v"},"slots":{"-3":{}},"ts":"2024-02-29T12:30:45.120Z","dur":"1.5s","mask":"a,b.c",'
    b'"info":{"a":[null,1,{}]},'
    b'"extra":{"@type":"type.googleapis.com/gwconf.v1.Nest","label":"p"},"wI64":"5","anyval":null}'
)


def envelope(message: bytes, flags: int = 0) -> bytes:
    """A message as gRPC-Web and Connect's streams frame it."""
    return struct.pack(">BI", flags, len(message)) + message


_WEB = {"content_type": "application/grpc-web+proto", "x_grpc_web": "1"}
_TEXT = {"content_type": "application/grpc-web-text"}
_JSON_TYPE = {"content_type": "application/json"}

SEEDS = (
    request("GET", "/v1/seg/abc%20def?i32=5&nest.label=x&nums=1&nums=2&labels[k]=v&ts=2024-02-29T12:30:45Z&hue=1"),
    request("GET", "/v1/racks/a/files/b/c%2Fd?flag=true&dur=1.5s&mask=a,b&w_i64=5", accept="text/event-stream"),
    request("POST", "/v1/whole", _JSON, **_JSON_TYPE),
    request("PATCH", "/v1/amend/x", b'{"text":"t","nest":{"depth":1}}', **_JSON_TYPE),
    request("POST", "/v1/nestsbody?name=q", b'[{"label":"a"},{"depth":1}]', **_JSON_TYPE),
    request("GET", "/v1/count/3", accept="application/x-ndjson;q=0.9, text/event-stream;q=0.5", last_event_id="1"),
    request("POST", "/v1/gather/n", b'{"n":1}\n{"n":2,"text":"a"}\n', content_type="application/x-ndjson"),
    request("POST", "/v1/gather", b'[{"n":1},{"n":2,"text":"a"}]', grpc_timeout="9S", **_JSON_TYPE),
    request("POST", "/v1/chat", b'{"n":1,"text":"a"}\n', accept="application/x-ndjson", **_JSON_TYPE),
    request("POST", "/v1/blob/n?note=x", bytes(range(64)), content_type="image/png"),
    request("POST", "/gwconf.v1.Bodies/Whole", envelope(_PROBE), **_WEB),
    request("POST", "/gwconf.v1.Streams/Count", envelope(_COUNT), **_WEB),
    request("POST", "/gwconf.v1.Bodies/Whole", base64.b64encode(envelope(_PROBE)), **_TEXT),
    request("POST", "/gwconf.v1.Bodies/Whole", _JSON, connect_protocol_version="1", **_JSON_TYPE),
    request("POST", "/gwconf.v1.Bodies/Whole", _PROBE, content_type="application/proto", connect_protocol_version="1"),
    request("POST", "/gwconf.v1.Streams/Count", envelope(b'{"upto":3}'), content_type="application/connect+json"),
    request("POST", "/gwconf.v1.Streams/Gather", envelope(b'{"n":3}') * 2, content_type="application/connect+json"),
    request("GET", "/gwconf.v1.Paths/OneSegment?connect=v1&encoding=json&base64=1&message=eyJuYW1lIjoieCJ9"),
    b"POST /v1/whole HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    b'5\r\n{"nam\r\nA;ext=1\r\ne":"abcde"\r\n1\r\n}\r\n0\r\nx-trailer: 1\r\n\r\n',
    request("OPTIONS", "/v1/whole", origin="http://a.test", access_control_request_method="POST"),
)  # fmt: skip
