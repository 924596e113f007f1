"""Update the table of options in docs/reference/configuration.md from the code."""

from __future__ import annotations

from pathlib import Path

from trackmllib.config.names import OPTIONS, Option

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "configuration.md"
BEGIN = "<!-- The table is made from the code: make docs -->\n"
END = "<!-- End of the table. -->\n"


def table() -> str:
    """The table in Markdown, with a row per option."""
    heads = ["argument", "default", "variable", "Spark conf key", "meaning"]
    rows = [heads, ["---"] * len(heads), *map(_row, OPTIONS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(page: str) -> str:
    """The page, with the table between its two marks replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} has no place for the table")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _row(option: Option) -> list[str]:
    default = option.default
    shown = f"{default:g}" if isinstance(default, float) else repr(default)
    keys = "<br>".join(f"`{key}`" for key in option.keys)
    return [f"`{option.argument}`", f"`{shown}`", f"`{option.variable}`", keys, option.help]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
