"""Files of each kind as text, and files that cannot be read."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from docx import Document
from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge.blocks import Kind, Parsed, UnreadableError
from answermesh.knowledge.parsers import parse

SAMPLES = Path(__file__).parents[1] / "samples"


def pieces(parsed: Parsed) -> list[str]:
    ends = [block.start for block in parsed.blocks[1:]] + [len(parsed.text)]
    return [parsed.text[block.start : end].strip() for block, end in zip(parsed.blocks, ends, strict=True)]


def docx() -> bytes:
    document = Document()
    document.core_properties.title = "Plan"
    document.add_heading("Goals", 1)
    document.add_paragraph("We build.")
    document.add_paragraph("first", style="List Bullet")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "a", "b"
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


@given(st.text(min_size=1, max_size=300).filter(str.strip), st.sampled_from(["a.txt", "a.md"]))
def test_the_text_of_text_and_markdown_is_the_files_own(text: str, name: str) -> None:
    content = text.encode("utf-8")
    if content.startswith(b"\xef\xbb\xbf") or not text.replace("\0", "x").strip():
        return
    _, parsed = parse(content, name)
    assert parsed.text == text.replace("\0", "\ufffd")


def test_markdown_gives_title_headings_items_tables_and_code() -> None:
    head = "---\ntitle: The Title\n---\n# One `x`\n\ntext\n\n- a\n- b\n\n"
    text = f"{head}## Two {{#two}}\n\n| a |\n|---|\n| 1 |\n\n```\ncode\n```\n"
    _, parsed = parse(text.encode(), "a.md")
    assert (parsed.text, parsed.title) == (text, "The Title")
    assert [block.kind for block in parsed.blocks[1:]] == [
        Kind.HEADING, Kind.TEXT, Kind.ITEM, Kind.ITEM, Kind.HEADING, Kind.TABLE, Kind.CODE,
    ]  # fmt: skip
    assert parsed.blocks[-1].headings == ("One x", "Two")


def test_html_gives_the_words_that_a_browser_shows() -> None:
    html = (
        "<!doctype html><title>T</title><nav>menu</nav><h1>Head</h1><p>A <b>bold</b>\nword<ul><li>x<li>y</ul>"
        "<table><tr><td>1<td>2</table><pre>a\n  b</pre><script>no()</script><!-- no -->"
    )
    media_type, parsed = parse(html.encode(), "page")
    assert (media_type, parsed.title) == ("text/html", "T")
    assert pieces(parsed) == ["Head", "A bold word", "- x", "- y", "1 | 2", "a\n  b"]
    assert parsed.blocks[-1].headings == ("Head",)


def test_html_nested_a_thousand_deep_is_read_or_refused_but_never_crashes() -> None:
    with suppress(UnreadableError):
        parse(b"<html>" + b"<div>" * 5000 + b"deep", "a.html")


def test_pdf_gives_pages() -> None:
    media_type, parsed = parse((SAMPLES / "four-pages.pdf").read_bytes(), "a.pdf")
    assert media_type == "application/pdf"
    assert {block.page for block in parsed.blocks} == {1, 2, 3, 4}


def test_docx_gives_headings_lists_and_tables() -> None:
    _, parsed = parse(docx(), "a.docx")
    assert parsed.title == "Plan"
    assert pieces(parsed) == ["Goals", "We build.", "- first", "a | b"]
    assert parsed.blocks[-1].headings == ("Goals",)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "a.json",
            b'[{"name": "x", "tags": ["p", "q"], "n": null}, {"name": {"first": "y"}}]',
            ["name: x\ntags: p, q", "name.first: y"],
        ),
        ("a.jsonl", b'{"a": 1}\n\n{"a": true}\n', ["a: 1", "a: true"]),
        (
            "a.csv",
            b'id,name\n1,"x, y"\n2,\n3,z,more\n',
            ["id: 1; name: x, y", "id: 2", "id: 3; name: z; column 3: more"],
        ),
        ("a.tsv", b"id\tname\n1\tx\n", ["id: 1; name: x"]),
    ],
)
def test_records_and_rows_become_blocks(name: str, content: bytes, expected: list[str]) -> None:
    _, parsed = parse(content, name)
    assert pieces(parsed) == expected


def test_old_encodings_and_utf16_are_read() -> None:
    assert parse("Le café est fermé à l'été.".encode("cp1252"), "a.txt")[1].text == "Le café est fermé à l'été."
    assert parse("\ufeffzwölf".encode("utf-16-le"), "a.txt")[1].text == "zwölf"


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as one:
        one.writestr("x", "y")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "media_type", "said"),
    [
        ("a.txt", b"", "", "is empty"),
        ("a.txt", b" \n ", "", "holds no text"),
        ("a.bin", b"\0\1\2\3", "", "is of a kind that is not read"),
        ("a.png", b"\x89PNG", "image/png", "media type 'image/png'"),
        ("a.pdf", b"Hello", "", "does not begin as one"),
        ("a.pdf", b"%PDF-1.4 cut", "", "damaged or truncated PDF"),
        ("a.pdf", (SAMPLES / "password.pdf").read_bytes(), "", "encrypted; remove its password"),
        ("a.pdf", (SAMPLES / "four-pages.pdf").read_bytes()[:2000], "", "damaged or truncated PDF"),
        ("a.docx", docx()[:3000], "", "damaged or truncated archive"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 100, "", "encrypted or an old"),
        ("a.zip", archive(), "", "unpack it first"),
        ("a.json", b'{"a": ', "", "is not JSON"),
        ("a.json", b"[" * 200_000, "", "nested too deeply"),
        ("a.jsonl", b'{"a": 1}\n{"a"', "", "in line 2"),
        ("a.txt", b"\xff\xfe\x00\xd8\x00", "", "save it as UTF-8"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(name: str, content: bytes, media_type: str, said: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse(content, name, media_type)
    assert said in str(caught.value)


def test_json_text_survives_as_it_was() -> None:
    _, parsed = parse(json.dumps({"note": "line one\nline two é"}).encode(), "a.json")
    assert parsed.text == "note: line one\nline two é"
