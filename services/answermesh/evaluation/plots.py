"""Figures drawn: for each task a bar to the value and a line over its interval, as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from answermesh.evaluation.statistics import Estimate

_ROW = 24
_LEFT = 210
_WIDTH = 420
_RIGHT = 150
# Legible on white and on black alike.
_BAR, _LINE, _INK = "#6b9bd1", "#d1703c", "#808080"


def bars(title: str, rows: Sequence[tuple[str, Estimate]]) -> str:
    """A plot of figures from 0 to 1, or to the largest of them where one is above 1."""
    top = max(1.0, *(estimate.high for _, estimate in rows))
    height = _ROW * (len(rows) + 1) + 10
    width = _LEFT + _WIDTH + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="13" fill="{_INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, estimate) in enumerate(rows, 1):
        y = _ROW * number + 4
        low, value, high = (
            _LEFT + _WIDTH * max(0.0, point) / top for point in (estimate.low, estimate.value, estimate.high)
        )
        middle = y + 9
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{value - _LEFT:.1f}" height="18" fill="{_BAR}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 5}v10M{high:.1f} {middle - 5}v10"'
            f' stroke="{_LINE}" stroke-width="2"/>',
            f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 13}">{shown(estimate)}</text>',
        ]
    return "".join([*parts, "</svg>\n"])


def shown(estimate: Estimate) -> str:
    """A figure with its interval, to three places, or to one where it is above 10."""
    places = 1 if abs(estimate.value) >= 10 else 3
    value, low, high = (f"{point:.{places}f}" for point in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
