"""The public API is documented: docstrings in Google style, and an entry for each name.

A docstring must have

* a first line of at most 72 characters,
* ``Args`` with each parameter (the fields of a dataclass under ``Attributes``),
* ``Returns``, unless the function is annotated to return None,
* ``Raises`` with each public error, TypeError or ValueError that the body of the function raises by
  name, and no name that does not exist,
* ``Example``, for what ``trackmllib`` and ``trackmllib.testing`` export; not for methods.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import trackmllib
from trackmllib import exceptions, testing
from trackmllib.cli.main import COMMANDS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SECTIONS = ("Args", "Returns", "Raises", "Attributes", "Example")
ROLES = r"\.\. (?:autofunction|autoclass|autoexception|py:data):: (\S+)"


def exported(module: Any) -> Iterator[str]:
    """Names that a module without ``__all__`` exports: its own functions and classes."""
    for name, value in vars(module).items():
        is_code = inspect.isfunction(value) or inspect.isclass(value)
        if is_code and not name.startswith("_") and value.__module__ == module.__name__:
            yield name


def public_names() -> dict[str, Any]:
    """Every public name with its object; an error has its shortest name."""
    names = {f"trackmllib.{name}": getattr(trackmllib, name) for name in trackmllib.__all__}
    for module in (exceptions, testing):
        for name in exported(module):
            if name not in trackmllib.__all__:
                names[f"{module.__name__}.{name}"] = getattr(module, name)
    return {**names, "trackmllib.testing.events": testing.events}


PUBLIC = public_names()
CODE = {name: each for name, each in PUBLIC.items() if callable(each)}
ERRORS = {each.__name__ for each in CODE.values() if inspect.isclass(each)}


def members(name: str, cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class."""
    for member, value in vars(cls).items():
        value = value.fget if isinstance(value, property) else value
        if not member.startswith("_") and inspect.isfunction(value):
            yield f"{name}.{member}", value


def sections(docstring: str) -> dict[str, str]:
    """The sections of a docstring, by name."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", docstring, flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(textwrap.dedent, parts[2::2]), strict=True))


def items(section: str) -> list[str]:
    """Names that a section describes: ``timeout: Longest wait …``."""
    return re.findall(r"^([\w.]+): \S", section, re.MULTILINE)


def raised(function: Any) -> set[str]:
    """Names of the errors for users that the body of a function raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add(ast.unparse(node.exc.func))
    return names & {*ERRORS, "TypeError", "ValueError"}


def exists(name: str) -> bool:
    """Whether an error is built in, or public under this name."""
    return name in PUBLIC or isinstance(getattr(builtins, name, None), type)


def problems(documented: Any, *, needs_example: bool = False) -> list[str]:
    """What the docstring of a function or a class lacks."""
    text = inspect.cleandoc(documented.__doc__ or "")
    first, found, missing = text.partition("\n")[0], sections(text), []
    if not (0 < len(first) <= 72 and first.endswith(".")):
        missing.append("a first line")
    if inspect.isclass(documented):
        function = vars(documented).get("__init__")
        fields = dataclasses.fields(documented) if dataclasses.is_dataclass(documented) else ()
        missing += [f.name for f in fields if f.name not in items(found.get("Attributes", ""))]
        function = None if fields else function
    else:
        function = documented
        if inspect.signature(function).return_annotation not in ("None", None):
            missing += [] if "Returns" in found else ["Returns"]
    if function is not None:
        arguments = items(found.get("Args", ""))
        parameters = [name for name in inspect.signature(function).parameters if name != "self"]
        missing += [name for name in parameters if name not in arguments]
        missing += [f"no {name}" for name in arguments if name not in parameters]
        errors = items(found.get("Raises", ""))
        listed = {name.rpartition(".")[2] for name in errors}
        missing += sorted(raised(function) - listed)
        missing += [f"no {name}" for name in errors if not exists(name)]
    if needs_example and "Example" not in found:
        missing.append("Example")
    return missing


@pytest.mark.parametrize("name", CODE)
def test_docstring_is_complete(name):
    needs_example = not name.startswith("trackmllib.exceptions.")
    assert problems(CODE[name], needs_example=needs_example) == []


METHODS = dict(
    pair for name, each in CODE.items() if inspect.isclass(each) for pair in members(name, each)
)


@pytest.mark.parametrize("name", METHODS)
def test_docstring_of_method_is_complete(name):
    assert problems(METHODS[name]) == []


def entries() -> list[str]:
    """Names that the API pages document, once per entry."""
    pages = sorted((REFERENCE / "api").glob("*.md"))
    return [name for page in pages for name in re.findall(ROLES, page.read_text(encoding="utf-8"))]


def test_every_public_name_has_one_entry():
    assert len(PUBLIC) > 30
    assert Counter(entries()) == Counter(list(PUBLIC))


def test_entries_lead_to_the_public_objects():
    for name in entries():
        _, *path = name.split(".")
        assert reduce(getattr, path, trackmllib) is PUBLIC[name]


def test_index_lists_every_public_name_and_page():
    index = (REFERENCE / "api" / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`([\w.]+)(?:\(\))?`\]\(#([\w.]+)\) \| \S.* \|$", index, re.MULTILINE)
    assert [target for _, target in rows] == [name for name, _ in rows]
    assert Counter(name for name, _ in rows) == Counter(list(PUBLIC))
    toctree = re.findall(r"^\w+$", index.partition("```{toctree}")[2], re.MULTILINE)
    assert {f"{name}.md" for name in (*toctree, "index")} == {
        page.name for page in (REFERENCE / "api").glob("*.md")
    }


def test_testing_page_lists_every_event_with_its_fields():
    page = (REFERENCE / "api" / "testing.md").read_text(encoding="utf-8")
    base = {field.name for field in dataclasses.fields(testing.events.Event)}
    rows = re.findall(r"^\| `(\w+)` \| \S.* \| (.*) \|$", page, re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)`", fields) for name, fields in rows}
    classes = {each.__name__: each for each in testing.events.Event.__subclasses__()}
    assert listed.keys() == classes.keys()
    for name, cls in classes.items():
        fields = [field.name for field in dataclasses.fields(cls) if field.name not in base]
        assert listed[name] == fields, name


def test_command_line_page_has_every_command():
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    assert re.findall(r"^   :prog: trackmllib (.+)$", page, re.MULTILINE) == list(COMMANDS)


def complete(number: int, *, other: str = "") -> str:
    """Do something.

    Args:
        number: A number.
        other: A text.

    Returns:
        A text.

    Raises:
        ValueError: The number is negative.
        trackmllib.UnknownSearch: There is none.

    Example:
        >>> complete(1)
    """
    if number < 0:
        raise ValueError(number)
    raise trackmllib.UnknownSearch(other)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", []),
        ("Do something.", "Do" + 70 * " x" + ".", ["a first line"]),
        ("Do something.", "Do something", ["a first line"]),
        ("    number: A number.\n", "", ["number"]),
        ("    other: A text.", "    another: A text.", ["other", "no another"]),
        ("Returns:\n    A text.\n", "", ["Returns"]),
        ("    ValueError: The number is negative.\n", "", ["ValueError"]),
        ("trackmllib.UnknownSearch", "trackmllib.NoSuchError", ["no trackmllib.NoSuchError"]),
        ("Example:\n    >>> complete(1)", "", ["Example"]),
    ],
)
def test_incomplete_docstring_is_found(monkeypatch, old, new, found):
    text = inspect.cleandoc(complete.__doc__)
    assert old in text
    monkeypatch.setattr(complete, "__doc__", text.replace(old, new))
    assert problems(complete, needs_example=True) == found


def test_incomplete_docstring_of_class_is_found():
    @dataclasses.dataclass
    class Fields:
        """Fields.

        Attributes:
            one: A number.
        """

        one: int
        other: int

    class Created:
        """An object."""

        def __init__(self, one: int) -> None:
            self.one = one

    assert problems(Fields) == ["other"]
    assert problems(Created) == ["one"]
