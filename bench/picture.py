"""Curves as an SVG: panels side by side, logarithmic both ways, drawn of nothing but text. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 360, 250, 52, 46, 14, 40
_COLORS = ("#8a8a8a", "#1a7f5a", "#1f5fa8", "#b0562a")
_STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #777 } .title { font-weight: 600; font-size: 13px }
.grid { stroke: #999; stroke-opacity: .25 } .curve { fill: none; stroke-width: 2 }
</style>"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: a curve of points (x, y), both above 0, for each name."""

    title: str
    x_label: str
    curves: Mapping[str, Sequence[tuple[float, float]]]


def svg(panels: Sequence[Panel]) -> str:
    """All panels in a row, with one legend, the names of the first panel."""
    names = list(panels[0].curves)
    width, height = _WIDTH * len(panels), _HEIGHT + 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">', _STYLE]
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({index * _WIDTH} 0)">{_panel(panel, names)}</g>')
    at = _LEFT
    for name in names:
        parts.append(f'<line x1="{at}" x2="{at + 18}" y1="{height - 12}" y2="{height - 12}" {_stroke(names, name)}/>')
        parts.append(f'<text x="{at + 24}" y="{height - 8}">{escape(name)}</text>')
        at += 50 + 7 * len(name)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, names: Sequence[str]) -> str:
    points = [point for curve in panel.curves.values() for point in curve]
    xs = sorted({x for x, _ in points})
    low, high = _decades(min(y for _, y in points)), _decades(max(y for _, y in points), up=True)

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / xs[0]) / (math.log(xs[-1] / xs[0]) or 1.0)
        above = math.log(y / low) / math.log(high / low)
        inner = _HEIGHT - _TOP - _BOTTOM
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _TOP + (1 - above) * inner

    parts = [f'<text class="title" x="{_LEFT}" y="20">{escape(panel.title)}</text>']
    for y in _ticks(low, high):
        at = place(xs[0], y)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
    parts += [f'<text x="{place(x, low)[0]:.1f}" y="{_HEIGHT - 24}" text-anchor="middle">{x:g}</text>' for x in xs]
    parts.append(
        f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(panel.x_label)}</text>'
    )
    for name, curve in panel.curves.items():
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in sorted(curve)))
        parts.append(f'<polyline class="curve" points="{path}" {_stroke(names, name)}/>')
    return "\n".join(parts)


def _stroke(names: Sequence[str], name: str) -> str:
    return f'stroke="{_COLORS[names.index(name) % len(_COLORS)]}" stroke-width="2"'


def _decades(value: float, *, up: bool = False) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [power * step for step in (1, 2, 5, 10)]
    return next(step for step in steps if step >= value) if up else next(s for s in reversed(steps) if s <= value)


def _ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [tick for tick in found if low * 0.999 <= tick <= high * 1.001]
