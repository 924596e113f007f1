"""Rows as text for the terminal, and as a table and a list in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.ratios import OURS, PEER, UNTRACKED, Row, Spread

HEADS = ("what is asked", "bound", "measured", "holds", "rounds", "untracked", "ours", "peer")
UNJUDGED = "-"


def number(value: float, unit: str) -> str:
    """Return a value with its unit: ``1.043 x``, ``84 µs``."""
    digits = 3 if unit == "x" else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f} {unit}"


def spread(found: Spread, unit: str) -> str:
    """Return the median and the range: ``1.043 x (1.021 to 1.060)``."""
    if found.low == found.high:
        return number(found.median, unit)
    low, high = (number(value, unit).rpartition(" ")[0] for value in (found.low, found.high))
    # "CPU s" contains a space.
    low, high = low.removesuffix(" CPU"), high.removesuffix(" CPU")
    return f"{number(found.median, unit)} ({low} to {high})"


def bound(row: Row) -> str:
    """Return the bound as text: ``at most 1.15 x``."""
    unit = f" {row.unit}"
    return f"{'below' if row.below else 'at most'} {row.bound:,g}{unit}"


def verdict(row: Row, yes: str, no: str) -> str:
    """Return whether the bound holds; a negative cost holds, and is marked as noise."""
    if not row.holds:
        return no
    return f"{yes}, below 0" if row.value.median < 0 else yes


def cells(row: Row, judged: bool = True) -> list[str]:
    """Return the cells under ``HEADS``; ours defaults to the value."""
    value = spread(row.value, row.unit)
    measured = [
        spread(row.measured[variant], row.measured_unit)
        if variant in row.measured
        else row.without.get(variant, value)
        for variant in (UNTRACKED, OURS)
    ]
    for variant, found in row.measured.items():
        if variant not in (UNTRACKED, OURS, PEER):
            measured[0] += f", {variant} {spread(found, row.measured_unit)}"
    peer = row.without.get(PEER, "") if row.peer is None else spread(row.peer, "x")
    if PEER in row.measured:
        peer = spread(row.measured[PEER], row.measured_unit)
    holds = verdict(row, "yes", "**no**") if judged else UNJUDGED
    return [row.question, bound(row), value, holds, str(row.rounds), *measured, peer]


def line(row: Row, judged: bool = True) -> str:
    """Return a row for the terminal."""
    _, limit, measured, _, rounds, *others = cells(row, judged)
    judgement = verdict(row, "holds", "MISSED") if judged else "not judged"
    named = zip((UNTRACKED, OURS, PEER), others, strict=True)
    beside = "".join(f"; {name} {text}" for name, text in named if text)
    return f"{row.name:16} {measured}, {limit}: {judgement}{beside}; {rounds} rounds"


def missed(rows: Sequence[Row]) -> str:
    """Return the closing lines about missed bounds, or an empty text."""
    lines = [
        f"  {row.name}: {spread(row.value, row.unit)}, {bound(row)}"
        for row in rows
        if not row.holds
    ]
    return "\n".join([f"{len(lines)} of {len(rows)} bounds are missed:", *lines]) if lines else ""


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [HEADS, ("---",) * len(HEADS), *(cells(row) for row in rows)]
    return "".join(f"| {' | '.join(parts)} |\n" for parts in lines)


def meanings(rows: Sequence[Row]) -> str:
    """Return the meaning of each row as a list in Markdown."""
    return "".join(f"* **{row.question}** (`{row.name}`). {row.meaning}\n" for row in rows)
