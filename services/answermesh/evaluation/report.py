"""Figures as a report: Markdown with its plots beside it, or HTML with them inside. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from answermesh.evaluation.plots import bars, shown
from answermesh.evaluation.statistics import Estimate
from answermesh.evaluation.suite import Suite
from answermesh.evaluation.summary import Figures

NOTE = "Means over items with 95 % bootstrap intervals; times are medians of one item, on the machine of the run."


def tables(
    figures: Sequence[Figures], suites: Mapping[str, Suite], *, whole: bool
) -> list[tuple[str, list[list[str]]]]:
    """A table for each suite, columns first: of its headline metrics, or of all."""
    found = []
    for suite, of in _by_suite(figures).items():
        names = [name for one in of for name in one.metrics]
        headline = suites[suite].headline if suite in suites else ()
        columns = [name for name in headline if name in names]
        if whole or not columns:
            columns += [name for name in dict.fromkeys(names) if name not in columns]
        rows = [["set", "items", "failed", "s", *columns]]
        for one in of:
            cells = [shown(one.metrics[name]) if name in one.metrics else "–" for name in columns]
            rows.append([one.task, str(one.items), str(one.failed), f"{one.duration_s:.3f}", *cells])
        found.append((suite, rows))
    return found


def plots(figures: Sequence[Figures], suites: Mapping[str, Suite]) -> dict[str, str]:
    """An SVG for each suite's first headline metrics, by name of its file."""
    drawn = {}
    for suite, of in _by_suite(figures).items():
        headline = suites[suite].headline if suite in suites else tuple(of[0].metrics)
        rows: list[tuple[str, Estimate]] = [
            (f"{one.task} {name}", one.metrics[name]) for one in of for name in headline[:3] if name in one.metrics
        ]
        if rows:
            drawn[f"{suite}.svg"] = bars(suite, rows)
    return drawn


def markdown(figures: Sequence[Figures], suites: Mapping[str, Suite], about: Sequence[str], pictures: str) -> str:
    """The report; `pictures` is the folder of the plots as the report links to it."""
    drawn = plots(figures, suites)
    lines = ["# Evaluation", "", *about, "", NOTE]
    for suite, rows in tables(figures, suites, whole=True):
        lines += ["", f"## {suite}", ""]
        if suite in suites:
            lines += [suites[suite].about, ""]
        lines += _turned(rows)
        if f"{suite}.svg" in drawn:
            lines += ["", f"![{suite}]({pictures}/{suite}.svg)"]
    return "\n".join(lines) + "\n"


def html(figures: Sequence[Figures], suites: Mapping[str, Suite], about: Sequence[str]) -> str:
    """The same as one page."""
    drawn = plots(figures, suites)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>'
        "body{font:15px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{padding:.2rem .7rem;border-bottom:1px solid #8884;text-align:left}"
        "</style><h1>Evaluation</h1>",
        *(f"<p>{escape(line)}</p>" for line in (*about, NOTE) if line),
    ]
    for suite, rows in tables(figures, suites, whole=True):
        parts.append(f"<h2>{escape(suite)}</h2>")
        if suite in suites:
            parts.append(f"<p>{escape(suites[suite].about)}</p>")
        parts.append(drawn.get(f"{suite}.svg", ""))
        head, *body = rows
        parts.append("<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>")
        parts += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
        parts.append("</table>")
    return "\n".join(parts) + "\n"


def _turned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table with a column for each set: metrics are many, sets are few."""
    head, *body = [list(column) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in body]


def _by_suite(figures: Sequence[Figures]) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {}
    for one in figures:
        found.setdefault(one.suite, []).append(one)
    return found
