"""curl, as people type it in a terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import gateway_process

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gwconf")
    gateway_process.gwconf_stubs(folder)
    with gateway_process.gwconf(folder) as service, gateway_process.gateway(folder, service.address) as running:
        yield running.url
        running.assert_unharmed()


def curl(*arguments: str, stdin: bytes = b"", ends: int = 0) -> bytes:
    """What curl prints; it must end with `ends`."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *arguments]
    ran = subprocess.run(command, input=stdin, capture_output=True, timeout=30)
    assert ran.returncode == ends, ran.stderr
    return ran.stdout


def _head(answer: bytes) -> tuple[str, dict[str, str]]:
    status, *lines = answer.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    return status, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_events_come_as_they_are_made(url: str) -> None:
    answer = curl("-N", "-H", "Accept: text/event-stream", f"{url}/v1/count/3?pause_ms=20")
    events = [line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: ")]
    assert [json.loads(event)["n"] for event in events] == [1, 2, 3]


def test_lines_and_arrays_hold_the_same_messages(url: str) -> None:
    lines = curl("-N", "-H", "Accept: application/x-ndjson", f"{url}/v1/count/3").splitlines()
    assert [json.loads(line) for line in lines] == json.loads(curl(f"{url}/v1/count/3"))


def test_an_array_that_breaks_is_seen_as_broken(url: str) -> None:
    # 18: "Partial file. Only a part of the file was transferred", or 56: the connection was reset.
    ran = subprocess.run(
        ["curl", "--silent", "--max-time", "20", "--noproxy", "*", f"{url}/v1/count/5?fail_after=2&fail_code=14"],
        capture_output=True,
        timeout=30,
    )
    assert ran.returncode in (18, 56)
    assert not ran.stdout.endswith(b"]")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_is_uploaded_as_its_bytes(url: str, tmp_path: Path, chunked: bool) -> None:
    (tmp_path / "blob").write_bytes(bytes(range(256)) * 10_000)
    extra = ("-H", "Transfer-Encoding: chunked") if chunked else ()
    upload = ("--data-binary", f"@{tmp_path / 'blob'}", "-H", "Content-Type: image/x-mine", *extra)
    seen = json.loads(curl(*upload, f"{url}/v1/blob/mine"))
    assert (seen["size"], seen["contentType"], seen["name"]) == ("2560000", "image/x-mine", "mine")


def test_a_large_upload_waits_for_100_continue_and_gets_it(url: str, tmp_path: Path) -> None:
    text = json.dumps({"text": "z" * 3_000_000}).encode()
    (tmp_path / "body").write_bytes(text)
    given = ("-H", "Content-Type: application/json", "-H", "Expect: 100-continue", "--data-binary")
    answer = curl("-i", *given, f"@{tmp_path / 'body'}", f"{url}/v1/size")
    assert answer.startswith(b"HTTP/1.1 100")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2]) == {"got": 3_000_000}


def test_a_client_stream_comes_from_standard_input(url: str) -> None:
    lines = b'{"n":1,"text":"a"}\n{"n":2}\n'
    given = ("-H", "Content-Type: application/x-ndjson", "-H", "Transfer-Encoding: chunked", "--data-binary", "@-")
    assert json.loads(curl(*given, f"{url}/v1/gather/me", stdin=lines)) == {
        "count": 2, "sum": "3", "texts": ["a"], "name": "me",
    }  # fmt: skip


def test_an_answer_is_compressed_for_who_asks_and_for_nobody_else(url: str) -> None:
    compressed = curl("-i", "--compressed", f"{url}/v1/size/50000")
    plain = curl("-i", f"{url}/v1/size/50000")
    assert _head(compressed)[1]["content-encoding"] == "gzip"
    assert "content-encoding" not in _head(plain)[1]
    assert compressed.partition(b"\r\n\r\n")[2] == plain.partition(b"\r\n\r\n")[2]
    assert int(_head(compressed)[1]["content-length"]) < 1000


def test_a_compressed_body_is_read(url: str, tmp_path: Path) -> None:
    gzipped = subprocess.run(["gzip", "-c"], input=b'{"name":"packed"}', capture_output=True, check=True).stdout
    given = ("-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip", "--data-binary", "@-")
    assert json.loads(curl(*given, f"{url}/v1/whole", stdin=gzipped))["probe"] == {"name": "packed"}


def test_head_tells_what_get_would_and_has_no_body(url: str) -> None:
    head, get = _head(curl("--head", f"{url}/v1/seg/x")), _head(curl("-i", f"{url}/v1/seg/x"))
    for told in (head[1], get[1]):
        del told["x-request-id"], told["date"]
    assert head == get


def test_options_names_the_methods(url: str) -> None:
    status, headers = _head(curl("-i", "-X", "OPTIONS", f"{url}/v1/many/x"))
    assert status.split()[1] in ("200", "204", "405")
    assert {"GET", "PUT", "DELETE", "PATCH"} <= {method.strip() for method in headers["allow"].split(",")}


def test_many_requests_share_one_connection(url: str) -> None:
    answers = curl("-w", " %{num_connects}\n", *[f"{url}/v1/seg/{number}" for number in range(5)])
    assert [line.split()[-1] for line in answers.splitlines()] == [b"1", b"0", b"0", b"0", b"0"]


def test_a_failure_makes_curl_fail_and_shows_why(url: str) -> None:
    told = json.loads(curl("--fail-with-body", f"{url}/v1/fail/5?message=gone", ends=22))
    assert (told["error"]["code"], told["error"]["status"], told["error"]["message"]) == (404, "NOT_FOUND", "gone")
