"""Curves that benchmarks draw."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.picture import Panel, svg

SVG = "{http://www.w3.org/2000/svg}"


def test_every_curve_is_drawn_within_its_panel_and_named_in_the_legend() -> None:
    curves = {"raw": [(1, 17.0), (64, 450.0)], "a < b": [(1, 15.0), (64, 560.0), (16, 250.0)]}
    root = ElementTree.fromstring(svg([Panel("Rate", "in flight", curves), Panel("Wait", "in flight", curves)]))
    lines = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    words = [text.text for text in root.iter(f"{SVG}text")]

    assert [len(points) for points in lines] == [2, 3, 2, 3]
    assert all(
        0 <= float(x) <= 360 and 0 <= float(y) <= 250 for points in lines for x, y in (p.split(",") for p in points)
    )
    assert words.count("raw") == words.count("a < b") == 1
    # More is higher, whatever the order the points came in.
    first = [float(point.split(",")[1]) for point in lines[1]]
    assert first == sorted(first, reverse=True)
