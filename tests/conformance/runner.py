"""Sends the HTTP request of a case and compares the answer with what the case expects. Standard library only."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import math
import os
import re
import socket
import struct
import time
from urllib.parse import urlsplit

ENUM_ZERO = {"HUE_UNSPECIFIED", "NULL_VALUE"}


class Mismatch(Exception):
    pass


class Answer:
    def __init__(self, status, headers, body, first_ms, total_ms, broken):
        self.status = status
        self.headers = headers  # list of (lower-case name, value)
        self.body = body
        self.first_ms = first_ms
        self.total_ms = total_ms
        self.broken = broken  # the body ended before its framing said so

    def header(self, name):
        vals = [v for k, v in self.headers if k == name.lower()]
        return ", ".join(vals) if vals else None

    def json(self):
        try:
            return json.loads(self.body.decode("utf-8"))
        except ValueError as e:
            raise Mismatch(f"body is not JSON ({e}): {self.body[:200]!r}") from None


def send(base, req, timeout):
    u = urlsplit(base)
    conn = http.client.HTTPConnection(u.hostname, u.port, timeout=timeout)
    t0 = time.monotonic()
    try:
        body = b""
        if "fill" in req:
            pre, ch, n, post = req["fill"]
            body = (pre + ch * n + post).encode()
        elif "body_b64" in req:
            body = base64.b64decode(req["body_b64"])
        elif "body" in req:
            body = req["body"].encode()
        conn.putrequest(req["method"], req["path"], skip_accept_encoding=True)
        for k, v in req.get("headers", {}).items():
            conn.putheader(k, v)
        if req.get("chunked"):
            conn.putheader("Transfer-Encoding", "chunked")
            conn.endheaders()
            for i in range(0, len(body), 5):
                part = body[i : i + 5]
                conn.send(b"%x\r\n%s\r\n" % (len(part), part))
            conn.send(b"0\r\n\r\n")
        else:
            if "body" in req or "body_b64" in req or req["method"] in ("POST", "PUT", "PATCH"):
                conn.putheader("Content-Length", str(len(body)))
            conn.endheaders()
            if body:
                conn.send(body)
        resp = conn.getresponse()
        headers = [(k.lower(), v) for k, v in resp.getheaders()]
        parts, first, broken = [], None, False
        try:
            while True:
                part = resp.read1(65536)
                if not part:
                    break
                if first is None:
                    first = (time.monotonic() - t0) * 1000
                parts.append(part)
        except (http.client.IncompleteRead, ConnectionError, http.client.HTTPException) as e:
            broken = True
            parts.append(getattr(e, "partial", b"") or b"")
        data = b"".join(parts)
        total = (time.monotonic() - t0) * 1000
        ans = Answer(resp.status, headers, data, first if first is not None else total, total, broken)
        if (ans.header("content-encoding") or "") == "gzip" and data:
            ans.body = gzip.decompress(data)
        return ans
    finally:
        conn.close()


# ------------------------------------------------------------------ comparison
def prune(x):
    """Drops members that hold a ProtoJSON default, so that gateways may print or omit them."""
    if isinstance(x, dict):
        out = {}
        for k, v in x.items():
            v = prune(v)
            if v in (None, "", "0") or v is False or v == [] or v == {} or (isinstance(v, (int, float)) and v == 0):
                continue
            if isinstance(v, str) and v in ENUM_ZERO:
                continue
            out[k] = v
        return out
    if isinstance(x, list):
        return [prune(v) for v in x]
    return x


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or math.isclose(a, b, rel_tol=1e-15, abs_tol=0.0)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def subset(want, got, at="$"):
    if isinstance(want, dict):
        if not isinstance(got, dict):
            raise Mismatch(f"{at}: want an object, got {short(got)}")
        for k, v in want.items():
            if k not in got:
                raise Mismatch(f"{at}.{k} is missing in {short(got)}")
            subset(v, got[k], f"{at}.{k}")
    elif isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            raise Mismatch(f"{at}: want {short(want)}, got {short(got)}")
        for i, v in enumerate(want):
            subset(v, got[i], f"{at}[{i}]")
    elif not same(want, got):
        raise Mismatch(f"{at}: want {short(want)}, got {short(got)}")


def short(x):
    s = json.dumps(x, ensure_ascii=False)
    return s if len(s) < 300 else s[:300] + "..."


def dig(x, path):
    for p in path.split("."):
        if not isinstance(x, dict) or p not in x:
            return False, None
        x = x[p]
    return True, x


# ------------------------------------------------------------------ stream formats
def values(text):
    dec, out, i = json.JSONDecoder(), [], 0
    ws = re.compile(r"[\s\x1e]*")
    i = ws.match(text, i).end()
    while i < len(text):
        try:
            v, i = dec.raw_decode(text, i)
        except ValueError:
            return out, text[i:]
        out.append(v)
        i = ws.match(text, i).end()
    return out, ""


def parse_stream(ans, want):
    """(format, items, error or None, rest) of a streamed answer."""
    text = ans.body.decode("utf-8", "replace")
    ctype = ans.header("content-type") or ""
    rest = ""
    if ctype.startswith("text/event-stream"):
        fmt, items, error = "sse", [], None
        for block in re.split(r"\r?\n\r?\n", text):
            name, data = "message", []
            for line in re.split(r"\r?\n", block):
                if line.startswith(":") or not line:
                    continue
                k, _, v = line.partition(":")
                v = v.removeprefix(" ")
                if k == "event":
                    name = v
                elif k == "data":
                    data.append(v)
            if data:
                try:
                    v = json.loads("\n".join(data))
                except ValueError:
                    continue
                if "error" in name or (isinstance(v, dict) and set(v) == {"error"}):
                    error = v
                elif name in ("message", "result", "data"):
                    items.append(v)
        return fmt, [unwrap(v) for v in items], error, rest
    stripped = text.lstrip()
    if stripped.startswith("["):
        fmt = "array"
        try:
            items = json.loads(stripped)
        except ValueError:
            _got, _ = values(re.sub(r"\]?\s*$", "", stripped[1:]).replace("\n", " "))
            items, t = [], stripped[1:]
            dec = json.JSONDecoder()
            i = 0
            while True:
                m = re.compile(r"[\s,]*").match(t, i)
                i = m.end()
                try:
                    v, i = dec.raw_decode(t, i)
                except ValueError:
                    rest = t[i:]
                    break
                items.append(v)
    else:
        fmt = "ndjson"
        items, rest = values(text)
    error = None
    if items and isinstance(items[-1], dict) and set(items[-1]) == {"error"}:
        error = items.pop()
    return fmt, [unwrap(v) for v in items], error, rest


def unwrap(v):
    return v["result"] if isinstance(v, dict) and set(v) == {"result"} else v


def find_error(js):
    if isinstance(js, dict) and isinstance(js.get("error"), dict):
        return js["error"]
    return js


CODE_OF = {
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}


def code_of(e):
    """The gRPC code of an error body: google.rpc.Status's code, or AIP-193's status name."""
    if not isinstance(e, dict):
        raise Mismatch(f"no error object: {short(e)}")
    if isinstance(e.get("status"), str) and e["status"] in CODE_OF:
        return CODE_OF[e["status"]]
    if isinstance(e.get("code"), str):
        return CODE_OF.get(e["code"].upper().replace("CANCELED", "CANCELLED"))
    return e.get("code")


def check_error(want, js):
    e = find_error(js)
    code = code_of(e)
    ok = want["code"] if isinstance(want["code"], list) else [want["code"]]
    if code not in ok:
        raise Mismatch(f"error code {code}, want {want['code']}: {short(js)}")
    if "message" in want and e.get("message") != want["message"]:
        raise Mismatch(f"error message {e.get('message')!r}, want {want['message']!r}")
    if "details" in want:
        subset(want["details"], e.get("details", []), "details")


def frames(data):
    out, i = [], 0
    while i + 5 <= len(data):
        flag, n = data[i], struct.unpack(">I", data[i + 1 : i + 5])[0]
        out.append((flag, data[i + 5 : i + 5 + n]))
        i += 5 + n
    return out


def check_grpcweb(want, ans):
    data = ans.body
    if want.get("text"):
        data = b"".join(base64.b64decode(p + b"=" * (-len(p) % 4)) for p in re.findall(rb"[A-Za-z0-9+/]+=*", data))
    msgs, trailers = [], {k: v for k, v in ans.headers if k.startswith("grpc-")}
    for flag, payload in frames(data):
        if flag & 0x80:
            for line in payload.decode("latin-1").split("\r\n"):
                if ":" in line:
                    k, v = line.split(":", 1)
                    trailers[k.strip().lower()] = v.strip()
        else:
            msgs.append(base64.b64encode(payload).decode())
    if str(trailers.get("grpc-status")) != str(want["status"]):
        raise Mismatch(f"grpc-status {trailers.get('grpc-status')}, want {want['status']}; body {ans.body[:120]!r}")
    if "messages" in want and msgs != want["messages"]:
        raise Mismatch(f"messages {msgs}, want {want['messages']}")
    if "count" in want and len(msgs) != want["count"]:
        raise Mismatch(f"{len(msgs)} messages, want {want['count']}")
    if "message" in want and trailers.get("grpc-message") != want["message"]:
        raise Mismatch(f"grpc-message {trailers.get('grpc-message')!r}")
    if "trailer" in want and want["trailer"] not in trailers:
        raise Mismatch(f"no trailer {want['trailer']}: {trailers}")


def check_connect(want, ans):
    items, end = [], None
    for flag, payload in frames(ans.body):
        if flag & 2:
            end = json.loads(payload or b"{}")
        else:
            items.append(payload)
    if end is None:
        raise Mismatch(f"no end of stream: {ans.body[:200]!r}")
    if "items" in want:
        subset(want["items"], [json.loads(i) for i in items])
    if "count" in want and len(items) != want["count"]:
        raise Mismatch(f"{len(items)} messages, want {want['count']}")
    got = (end.get("error") or {}).get("code")
    if got != want.get("error"):
        raise Mismatch(f"end of stream error {got}, want {want.get('error')}")


def check(exp, ans):
    if "status" in exp:
        ok = exp["status"] if isinstance(exp["status"], list) else [exp["status"]]
        if ans.status not in ok:
            raise Mismatch(f"status {ans.status}, want {exp['status']}; body {ans.body[:200]!r}")
    if "any" in exp:
        why = []
        for alt in exp["any"]:
            try:
                check(alt, ans)
                break
            except Mismatch as e:
                why.append(str(e))
        else:
            raise Mismatch(" | ".join(why))
    for name, rx in exp.get("headers", {}).items():
        v = ans.header(name)
        if v is None or not re.search(rx, v):
            raise Mismatch(f"header {name}: {v!r}, want /{rx}/")
    for name in exp.get("no_headers", []):
        if ans.header(name) is not None:
            raise Mismatch(f"header {name} is present: {ans.header(name)!r}")
    if "seen" in exp:
        js = ans.json()
        if not isinstance(js, dict) or js.get("rpc") != exp["seen"]["rpc"]:
            raise Mismatch(
                f"reached {js.get('rpc') if isinstance(js, dict) else js!r}, want {exp['seen']['rpc']}: {short(js)}"
            )
        want, got = prune(exp["seen"]["probe"]), prune(js.get("probe") or {})
        if not same(want, got):
            raise Mismatch(f"probe {short(got)}, want {short(want)}")
    if "json" in exp:
        js = ans.json()
        if not same(exp["json"], js):
            raise Mismatch(f"json {short(js)}, want {short(exp['json'])}")
    if "json_subset" in exp:
        subset(exp["json_subset"], ans.json())
    for path, n in exp.get("json_len", {}).items():
        found, v = dig(ans.json(), path)
        if not found or len(v) != n:
            raise Mismatch(f"{path}: length {len(v) if found else None}, want {n}")
    for path in exp.get("present", []):
        if not dig(ans.json(), path)[0]:
            raise Mismatch(f"{path} is missing: {short(ans.json())}")
    for path in exp.get("absent", []):
        if dig(ans.json(), path)[0]:
            raise Mismatch(f"{path} is present: {short(ans.json())}")
    for path, (lo, hi) in exp.get("range", {}).items():
        found, v = dig(ans.json(), path)
        if not found or not lo <= int(v) <= hi:
            raise Mismatch(f"{path} = {v}, want {lo}..{hi}")
    if "mask_set" in exp:
        m = exp["mask_set"]
        found, v = dig(ans.json(), m["at"])
        got = set((v or "").split(",")) - set(m.get("maybe", []))
        if not found or got != set(m["paths"]):
            raise Mismatch(f"mask {v!r}, want {m['paths']}")
    if "error" in exp:
        check_error(exp["error"], ans.json())
    if "body_b64" in exp and ans.body != base64.b64decode(exp["body_b64"]):
        raise Mismatch(f"body {ans.body[:80]!r}")
    if "body_text" in exp and ans.body.decode("utf-8", "replace") != exp["body_text"]:
        raise Mismatch(f"body {ans.body[:200]!r}")
    if "body_len" in exp and len(ans.body) != exp["body_len"]:
        raise Mismatch(f"body of {len(ans.body)} bytes, want {exp['body_len']}")
    if "body_regex" in exp and not re.search(exp["body_regex"], ans.body.decode("utf-8", "replace")):
        raise Mismatch(f"body does not match /{exp['body_regex']}/: {ans.body[:200]!r}")
    if "first_byte_ms" in exp and ans.first_ms > exp["first_byte_ms"]:
        raise Mismatch(f"first byte after {ans.first_ms:.0f} ms, want {exp['first_byte_ms']}")
    if "max_ms" in exp and ans.total_ms > exp["max_ms"]:
        raise Mismatch(f"took {ans.total_ms:.0f} ms, want {exp['max_ms']}")
    if "stream" in exp:
        s = exp["stream"]
        fmt, items, error, rest = parse_stream(ans, s)
        if "format" in s and fmt != s["format"]:
            raise Mismatch(f"format {fmt}, want {s['format']}: {ans.body[:120]!r}")
        if "items" in s:
            if len(items) != len(s["items"]):
                raise Mismatch(f"{len(items)} items, want {len(s['items'])}: {ans.body[:300]!r}")
            for i, (a, b) in enumerate(zip(s["items"], items, strict=False)):
                subset(a, b, f"item {i}")
        if "count" in s and len(items) != s["count"]:
            raise Mismatch(f"{len(items)} items, want {s['count']}")
        if "error" in s:
            if error is None:
                raise Mismatch(f"no error at the end of the stream: {ans.body[-200:]!r}")
            check_error({"code": s["error"]}, error)
        elif error is not None and not s.get("lenient"):
            raise Mismatch(f"error in the stream: {short(error)}")
        elif not s.get("lenient") and (rest.strip() or ans.broken):
            raise Mismatch(f"stream is cut short: {rest[:100]!r}")
    if "grpcweb" in exp:
        check_grpcweb(exp["grpcweb"], ans)
    if "connect" in exp:
        check_connect(exp["connect"], ans)


def run_disconnect(base, c, timeout):
    u = urlsplit(base)
    tag = c["expect"]["cancelled"] + os.urandom(4).hex()  # the backend's journal outlives a run
    req = {**c["request"], "path": c["request"]["path"].replace("tag=" + c["expect"]["cancelled"], "tag=" + tag)}
    s = socket.create_connection((u.hostname, u.port), timeout=timeout)
    s.sendall(f"{req['method']} {req['path']} HTTP/1.1\r\nHost: {u.netloc}\r\n\r\n".encode())
    time.sleep(c.get("after_ms", 300) / 1000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    end = time.monotonic() + 6
    js = None
    while time.monotonic() < end:
        js = send(base, {"method": "GET", "path": "/v1/journal/" + tag}, timeout).json()
        if js.get("cancelled", 0) >= 1:
            return
        time.sleep(0.1)
    raise Mismatch(f"the backend saw no cancellation: {short(js)}")


def run_case(base, case, timeout_s=10):
    """Raises Mismatch if the gateway at `base` does not do what the case expects."""
    if case.get("kind") == "disconnect":
        run_disconnect(base, case, timeout_s)
        return
    request = {**case["request"], **({"fill": case["fill"]} if "fill" in case else {})}
    check(case["expect"], send(base, request, case.get("timeout", timeout_s)))
