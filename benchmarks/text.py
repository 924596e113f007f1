"""Rows as text: for the terminal, and as a table and a list in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import OURS, PEER, UNTRACKED, Row, Spread

HEADS = ("what is asked", "bound", "measured", "holds", "rounds", "untracked", "ours", "peer")
UNJUDGED = "-"


def number(value: float, unit: str) -> str:
    """A value with its unit: ``1.043 x``, ``84 µs``."""
    digits = 3 if unit == "x" else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f} {unit}"


def spread(found: Spread, unit: str) -> str:
    """The median, and from where to where the values lie: ``1.043 x (1.021 to 1.060)``."""
    if found.low == found.high:
        return number(found.median, unit)
    low, high = (number(value, unit).rpartition(" ")[0] for value in (found.low, found.high))
    # "CPU s" has a space of its own.
    low, high = low.removesuffix(" CPU"), high.removesuffix(" CPU")
    return f"{number(found.median, unit)} ({low} to {high})"


def bound(row: Row) -> str:
    """``at most 1.15 x``"""
    unit = f" {row.unit}"
    return f"{'below' if row.below else 'at most'} {row.bound:,g}{unit}"


def verdict(row: Row, yes: str, no: str) -> str:
    """A cost below nothing holds, and is said to be one: it is less than what a round varies by."""
    if not row.holds:
        return no
    return f"{yes}, below 0" if row.value.median < 0 else yes


def cells(row: Row, judged: bool = True) -> list[str]:
    """What stands in the table, under ``HEADS``; ours is the value itself where it has no other."""
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
    """A row for the terminal."""
    _, limit, measured, _, rounds, *others = cells(row, judged)
    judgement = verdict(row, "holds", "MISSED") if judged else "not judged"
    named = zip((UNTRACKED, OURS, PEER), others, strict=True)
    beside = "".join(f"; {name} {text}" for name, text in named if text)
    return f"{row.name:16} {measured}, {limit}: {judgement}{beside}; {rounds} rounds"


def missed(rows: Sequence[Row]) -> str:
    """What is said at the end of the rows whose bounds do not hold; nothing if there are none."""
    lines = [
        f"  {row.name}: {spread(row.value, row.unit)}, {bound(row)}"
        for row in rows
        if not row.holds
    ]
    return "\n".join([f"{len(lines)} of {len(rows)} bounds are missed:", *lines]) if lines else ""


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [HEADS, ("---",) * len(HEADS), *(cells(row) for row in rows)]
    return "".join(f"| {' | '.join(parts)} |\n" for parts in lines)


def meanings(rows: Sequence[Row]) -> str:
    """What was done for each row, as a list in Markdown."""
    return "".join(f"* **{row.question}** (`{row.name}`). {row.meaning}\n" for row in rows)
