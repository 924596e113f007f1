"""Numbers, scores, durations and texts as people read them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from trackmllib.support.escaping import escaped

# Wide, combining and formatting characters, by Unicode's classes.
_WIDE = "WF"
_NO_WIDTH = ("Mn", "Me", "Cf")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def count(amount: int, one: str, many: str | None = None) -> str:
    """Number with a noun: ``1 candidate``, ``1,000 candidates``.

    ``many`` is an irregular plural: ``count(1, "candidate has", "candidates have")``.
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def error_summary(error: BaseException) -> str:
    """Type and first line of an error: ``ValueError: no such column``."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def percent(share: float) -> str:
    """Share: ``38 %``, or ``< 1 %`` if that would round to zero."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def size(number: float) -> str:
    """Number of bytes: ``12 bytes``, ``86 MiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} TiB"


# Scores in text: as many decimals as the deviation needs.


def decimals(average: float, deviation: float | None) -> int:
    """Decimals that a score and its deviation need, at least three digits."""
    if not math.isfinite(average):
        return 3
    needed = 3 - _magnitude(average)
    if deviation is None or not math.isfinite(deviation) or deviation == 0:
        needed += 1
    else:
        needed = max(needed, 1 - _magnitude(deviation))
    return min(max(needed, 0), 12)


def number(value: float | None, places: int) -> str:
    """Number with ``places`` decimals, or in scientific notation."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value != 0 and (abs(value) >= 1e9 or abs(value) < 10.0 ** -(places + 1)):
        return f"{value:.3g}".replace("-", "−")
    return f"{value:.{places}f}".replace("-", "−")


def score(average: float | None, deviation: float | None) -> str:
    """Score with its deviation: ``0.842 ± 0.006``."""
    if average is None:
        return "–"
    places = decimals(average, deviation)
    text = number(average, places)
    return text if deviation is None else f"{text} ± {number(deviation, places)}"


# Numbers in columns on a terminal, in ASCII so that programs can parse them.


def column_number(value: float | None, digits: int = 4) -> str:
    """Number in a column with ``digits`` decimals; empty for None."""
    if value is None:
        return ""
    if math.isnan(value):
        return "NaN"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}g}"


def column_digits(values: Sequence[float | None]) -> int:
    """Digits, 4 to 12, that distinguish the first two different numbers."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    first = next(iter(finite), None)
    second = next((value for value in finite if value != first), None)
    if first is None or second is None:
        return 4
    return next(
        (n for n in range(4, 12) if column_number(first, n) != column_number(second, n)), 12
    )


# Durations.


def duration(seconds: float | None) -> str:
    """Measured duration: ``0.12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rough_duration(seconds: float) -> str:
    """Estimate or age: ``12 s``, ``3 min``, ``1 h 20 min``, ``2 d 3 h``."""
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def time_left(seconds: float | None) -> str:
    """``about 3 min left``; empty for None."""
    return "" if seconds is None else f"about {rough_duration(seconds)} left"


# Texts.


def truncate(text: str, limit: int) -> str:
    """Escaped text of at most ``limit`` characters, the last ``…`` if cut."""
    text = escaped(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def visible(text: str, limit: int) -> str:
    """Truncated text on one line, with ``\\ufffd`` for invisible characters."""
    kept = "".join("\ufffd" if _is_invisible(each) else each for each in text[: limit + 1])
    return truncate(kept, limit)


def display_width(text: str) -> int:
    """Columns that a text takes; an emoji or a Chinese letter takes two."""
    return sum(map(_width, text))


def fit_width(text: str, columns: int) -> str:
    """Text of at most ``columns`` columns, the last ``…`` if cut."""
    if display_width(text) <= columns:
        return text
    kept = ""
    for each in text:
        columns -= _width(each)
        if columns < 1:
            break
        kept += each
    return kept + "…"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with aligned columns."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text + " " * (width - display_width(text))
            for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _magnitude(value: float) -> int:
    """Digits before the decimal point; 0 for 0.5, -2 for 0.001."""
    return 1 if value == 0 else math.floor(math.log10(abs(value))) + 1


def _is_invisible(character: str) -> bool:
    # The last two code points of each plane are not characters.
    is_none = ord(character) & 0xFFFE == 0xFFFE
    return is_none or unicodedata.category(character) in _INVISIBLE


def _width(character: str) -> int:
    if unicodedata.category(character) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1
