"""How numbers, durations and states read in sentences, tables and figures."""

from __future__ import annotations

import math
import unicodedata

from trackmllib import limits
from trackmllib.view.table import SCHEDULED


def decimals(average: float, deviation: float | None) -> int:
    """How many decimals show a score: as many as its deviation needs, three figures at least."""
    if not math.isfinite(average):
        return 3
    needed = 3 - _magnitude(average)
    if deviation is None or not math.isfinite(deviation) or deviation == 0:
        needed += 1
    else:
        needed = max(needed, 1 - _magnitude(deviation))
    return min(max(needed, 0), 12)


def number(value: float | None, places: int) -> str:
    """A number with so many decimals; what is far too small or large for them in powers of ten."""
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
    """A score with its deviation: ``0.842 ± 0.006``."""
    if average is None:
        return "–"
    places = decimals(average, deviation)
    text = number(average, places)
    return text if deviation is None else f"{text} ± {number(deviation, places)}"


def seconds(value: float | None) -> str:
    """A duration: ``0.12 s``, ``48 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if value is None:
        return "–"
    if value < 1:
        return f"{value:.2g} s"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def state(status: str) -> str:
    """What a candidate or a search is doing, or how it ended: ``finished``, ``not begun``."""
    return "not begun" if status == SCHEDULED else status.lower()


def percent(share: float) -> str:
    """``38 %``; what is there but tiny as ``< 1 %``."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def visible(text: str, limit: int) -> str:
    """The text on one line, cut, with control characters and those that turn text around shown."""
    kept = "".join("\ufffd" if _is_invisible(each) else each for each in text[: limit + 1])
    return limits.cut(kept, limit)


def _is_invisible(character: str) -> bool:
    # The last two code points of each plane are no characters; XML forbids U+FFFE and U+FFFF.
    is_none = ord(character) & 0xFFFE == 0xFFFE
    return is_none or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def cells(text: str) -> int:
    """How wide a text is, in letters of usual width: an emoji or a Chinese letter takes two."""
    return sum(map(_cells, text))


def fitted(text: str, room: int) -> str:
    """The text, its end replaced by ``…`` where it is wider than so many letters."""
    if cells(text) <= room:
        return text
    kept = ""
    for each in text:
        room -= _cells(each)
        if room < 1:
            break
        kept += each
    return kept + "…"


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _magnitude(value: float) -> int:
    """How many digits stand before the point; 0 for 0.5, -2 for 0.001."""
    return 1 if value == 0 else math.floor(math.log10(abs(value))) + 1
