"""docs/troubleshooting.md has an entry for each message, and none for another.

The messages are collected from the source: the texts of warnings, and of errors that trackmllib
raises. In a text, ``…`` stands for what is known only at run time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HOLE = "…"
# Around the name of a parameter with which a text begins.
MARK = "\0"
# Functions that log an argument as a warning, by name without leading underscores: the position of
# the argument. A function that passes its argument on to one of them must be one, too.
CHANNELS = {
    "add": (1,),  # of Problems
    "add_problem": (0,),
    "give_up": (0,),
    "note": (0, 1),
    "warn": (0, 1),
    "warn_once": (0,),
}
LOG_METHODS = ("warning", "error", "critical", "exception")

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# A value, and its index if it is unpacked from a tuple.
Binding = tuple[Any, "int | None"]


class Module:
    """A parsed module."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.nodes = list(ast.walk(ast.parse(text)))
        self.parents = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}
        self.imports = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in self.nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        top = ast.Module(body=[], type_ignores=[])
        self.constants: dict[str, ast.expr] = {}
        for node in self.nodes:
            if isinstance(node, ast.Assign) and isinstance(self.parents[node], type(top)):
                self.constants.update((name, value) for name, (value, _) in _bindings(node))

    def functions_around(self, node: ast.AST) -> Iterator[Function]:
        """Yield the functions that contain a node, the innermost first."""
        while (parent := self.parents.get(node)) is not None:
            node = parent
            if isinstance(node, Function):
                yield node


class Messages:
    """The messages of a package.

    ``warnings`` are the texts of warnings, ``errors`` those of classes in ``exceptions``, and
    ``all`` also those of other errors. ``not_channels`` are functions that pass their argument on
    to a channel without being one.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._modules = {name: Module(name, text) for name, text in texts.items()}
        self._nodes = [(each, node) for each in self._modules.values() for node in each.nodes]
        self._functions: dict[str, list[tuple[Module, Function]]] = {}
        self._bound: dict[str, list[tuple[Module, Binding]]] = {}
        self._known: dict[ast.AST, set[str]] = {}
        for module, node in self._nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._functions.setdefault(node.name, []).append((module, node))
            for name, binding in _bindings(node):
                self._bound.setdefault(name, []).append((module, binding))
        self._classes = {each.name for _, each in self._nodes if isinstance(each, ast.ClassDef)}
        self._public_errors = self._subclasses_of_public_errors()
        self._raises = [
            (module, node.exc)
            for module, node in self._nodes
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
        ]
        self.not_channels: set[str] = set()
        self.warnings = self._warnings()
        self.errors = self._errors(self._is_public)
        self.all = self.warnings | self.errors | self._errors(lambda name: True)

    def _warnings(self) -> set[str]:
        found = set()
        for module, call in self._nodes:
            for expression in _emitted(call) if isinstance(call, ast.Call) else ():
                for text in self._texts(module, expression):
                    _, parameter, rest = text.split(MARK) if MARK in text else ("", "", text)
                    if parameter and not re.match(r"\s*[a-z]", rest):
                        # The text is that of a caller, with a period or another sentence.
                        self._check_channel(module, expression, parameter)
                    elif is_message(rest):
                        found.add(HOLE * bool(parameter) + rest)
        return found

    def _check_channel(self, module: Module, expression: ast.AST, parameter: str) -> None:
        for function in module.functions_around(expression):
            names = _parameters(function)
            if parameter in names:
                name = getattr(function, "name", "note")
                is_text = re.search(r"\bstr\b", _annotation(function, parameter))
                if is_text and names.index(parameter) not in CHANNELS.get(name.lstrip("_"), ()):
                    self.not_channels.add(name)
                return

    def _errors(self, of_class: Callable[[str], bool]) -> set[str]:
        """Texts of the errors that are raised, or returned by functions for them."""
        returned = [
            (module, value)
            for module, node in self._nodes
            if isinstance(node, ast.FunctionDef)
            and getattr(node.returns, "id", "") in self._public_errors
            for value in _returned(node)
            if isinstance(value, ast.Call) and value.args
        ]
        texts = (
            without_mark(text)
            for module, call in (*self._raises, *returned)
            if of_class(_called(call))
            for text in self._texts(module, call.args[0])
        )
        return {text for text in texts if is_message(text)}

    def _is_public(self, name: str) -> bool:
        """Whether a raised class is in ``exceptions``, or may be: a variable holds it."""
        return name in self._public_errors or (name[:1].islower() and name not in self._functions)

    def _subclasses_of_public_errors(self) -> set[str]:
        classes = [(module, node) for module, node in self._nodes if isinstance(node, ast.ClassDef)]
        names = {node.name for module, node in classes if module.name.endswith("exceptions")}
        for _ in range(3):
            bases = {
                node.name: {getattr(base, "id", "") for base in node.bases} for _, node in classes
            }
            names |= {name for name, of in bases.items() if of & names}
        return names

    # Texts of expressions

    def _texts(self, module: Module, node: ast.AST) -> set[str]:
        """Possible texts of an expression."""
        if node not in self._known:
            # For an expression that depends on itself.
            self._known[node] = {HOLE}
            self._known[node] = self._read(module, node) or {HOLE}
        return self._known[node]

    def _read(self, module: Module, node: ast.AST) -> set[str]:
        def of(*nodes: ast.AST) -> set[str]:
            return set().union(*(self._texts(module, each) for each in nodes))

        match node:
            case ast.Constant(value=str(value)):
                return {value}
            case ast.JoinedStr(values=[first, *rest]):
                return {joined(head, *self._tail(module, rest)) for head in of(first)}
            case ast.FormattedValue(value=ast.Attribute()):
                return {HOLE}
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return of(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return {joined(one, more) for one, more in product(of(left), of(right))}
            case ast.IfExp(body=one, orelse=other):
                return of(one, other)
            case ast.BoolOp(values=values) | ast.List(elts=values):
                return of(*values)
            case ast.Call(func=ast.Name(id="str"), args=[value]):
                return set(map(without_mark, of(value)))
            case ast.Call(func=ast.Attribute(value=template, attr="format")):
                return {re.sub(r"\{[^{}]*\}", HOLE, text) for text in of(template)}
            case ast.Call(args=[value, *_]) if _called(node) in self._public_errors:
                return of(value)
            case ast.Call():
                return self._of_bindings(
                    (each, (value, None))
                    for each, function in self._named(module, _called(node))
                    for value in _returned(function)
                )
            case ast.Name(id=name):
                return self._of_name(module, node, name)
            case ast.Attribute(attr=name):
                # Of any class.
                return self._of_bindings(self._bound.get(name, []))
        return {HOLE}

    def _tail(self, module: Module, values: Iterable[ast.expr]) -> Iterator[str]:
        """Yield the rest of an f-string, in which only constants are known."""
        for value in values:
            known: ast.expr | None = value
            if isinstance(value, ast.FormattedValue) and value.format_spec is None:
                constant = self._constant(module, _name(value.value))
                known = None if constant is None else constant[1]
            yield str(known.value) if isinstance(known, ast.Constant) else HOLE

    def _of_name(self, module: Module, node: ast.AST, name: str) -> set[str]:
        for function in module.functions_around(node):
            found = [(module, each) for child in ast.walk(function) for each in _bound(child, name)]
            if found:
                return self._of_bindings(found, keep_mark=True)
            if name in _parameters(function):
                return {f"{MARK}{name}{MARK}"}
        constant = self._constant(module, name)
        return {HOLE} if constant is None else self._texts(*constant)

    def _of_bindings(
        self, bindings: Iterable[tuple[Module, Binding]], *, keep_mark: bool = False
    ) -> set[str]:
        found: set[str] = set()
        for module, (value, index) in bindings:
            if isinstance(value, ast.ExceptHandler):
                name = getattr(value.type, "id", "")
                own = name in self._classes
                raised = [each for each in self._raises if own and _called(each[1]) == name]
                found |= self._of_bindings((each, (call.args[0], None)) for each, call in raised)
            elif index is None:
                found |= self._texts(module, value)
            elif isinstance(value, ast.Call):
                found |= self._of_bindings(
                    (each, (made.elts[index], None))
                    for each, function in self._named(module, _called(value))
                    for made in _returned(function)
                    if isinstance(made, ast.Tuple) and index < len(made.elts)
                )
        return found if keep_mark else set(map(without_mark, found))

    def _named(self, module: Module, name: str) -> list[tuple[Module, Function]]:
        """Functions of this name: in this module, or else in the package."""
        found = self._functions.get(name, [])
        return [each for each in found if each[0] is module] or found

    def _constant(self, module: Module, name: str) -> tuple[Module, ast.expr] | None:
        """A constant of this module, or an imported one, with its module."""
        if name not in module.constants and name in module.imports:
            source, name = module.imports[name]
            module = self._modules.get(source, module)
        return (module, module.constants[name]) if name in module.constants else None


def _emitted(call: ast.Call) -> list[ast.expr]:
    """Arguments of a call that become the text of a warning."""
    name = _called(call)
    if name in ("log", *LOG_METHODS) and "logger" in ast.unparse(call.func).lower():
        arguments = call.args[1:] if name == "log" else call.args
        if name == "log" and ast.unparse(call.args[0]) in ("logging.DEBUG", "logging.INFO"):
            return []
        is_plain = isinstance(arguments[0], ast.Constant) and arguments[0].value == "%s"
        return arguments[1:2] if is_plain else arguments[:1]
    places = CHANNELS.get(name.lstrip("_"), ())
    return [call.args[place] for place in places if place < len(call.args)]


def _called(call: ast.Call) -> str:
    """Name of what a call calls: ``warn`` in ``self._search.warn(…)``."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _parameters(function: Function) -> list[str]:
    """Names of the parameters, without ``self``."""
    names = [each.arg for each in function.args.args]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    return [*names, *(each.arg for each in function.args.kwonlyargs)]


def _annotation(function: Function, parameter: str) -> str:
    arguments = (*function.args.args, *function.args.kwonlyargs)
    found = next(each.annotation for each in arguments if each.arg == parameter)
    return "str" if found is None else ast.unparse(found)


def _returned(function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
            yield node.value


def _bindings(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    """Yield the names that a node binds to values, or to lists of values."""
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
            for index, target in enumerate(targets):
                yield _name(target), (value, index)
        case ast.Assign(targets=[target], value=value):
            yield _name(target), (value, None)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield _name(target), (value, None)
        case ast.NamedExpr(target=target, value=value) | ast.For(target=target, iter=value):
            yield _name(target), (value, None)
        case ast.ExceptHandler(name=str(name)):
            yield name, (node, None)
        case ast.Call(func=ast.Attribute(value=target, attr="append"), args=[value]):
            yield _name(target), (value, None)


def _bound(node: ast.AST, name: str) -> list[Binding]:
    return [binding for each, binding in _bindings(node) if each == name]


def _name(target: ast.expr) -> str:
    return getattr(target, "id", getattr(target, "attr", ""))


def joined(start: str, *parts: str) -> str:
    """A text of several parts, with one ``…`` for several in a row."""
    return re.sub(rf"{HOLE}(\s*{HOLE})+", HOLE, start + without_mark("".join(parts)))


def without_mark(text: str) -> str:
    return re.sub(f"{MARK}.*?{MARK}", HOLE, text)


def first_clause(text: str) -> str:
    """The first clause of several words known before run time, or else of one; or nothing."""
    pieces = re.split(rf"[.,:;(){HOLE}]", text)
    clauses = [piece.strip() for piece in pieces if re.search(r"[A-Za-z]{3}", piece)]
    return next((each for each in clauses if " " in each), clauses[0] if clauses else "")


def is_message(text: str) -> bool:
    """Whether a text has words that are known before run time."""
    return bool(first_clause(text)) and " " in text


def messages_of(folder: Path) -> Messages:
    """The messages of a package in a folder."""
    files = {file.relative_to(folder.parent).with_suffix(""): file for file in folder.rglob("*.py")}
    return Messages({".".join(name.parts): file.read_text() for name, file in files.items()})


class Entry:
    """An entry of the page, for the messages in its heading and at the start of its bullets."""

    def __init__(self, heading: str, body: str) -> None:
        bullets = re.findall(r"^\* `([^`]+)`", body, re.MULTILINE)
        self.messages = [*re.findall("`(.+?)`", heading), *bullets]
        self.body = body


def entries_of(page: str) -> list[Entry]:
    _, *parts = re.split(r"^#{2,3} ", page, flags=re.MULTILINE)
    return [Entry(*part.partition("\n")[::2]) for part in parts]


def begins(text: str, message: str) -> bool:
    """Whether a text begins with a message of the page, in which ``…`` is any text."""
    return bool(re.match(".*?".join(map(re.escape, message.split(HOLE))), text, re.DOTALL))


def without_entry(texts: Iterable[str], entries: Iterable[Entry]) -> list[str]:
    """Texts whose first known clause is in no message of the page that they begin with."""
    known = [message for entry in entries for message in entry.messages]
    return sorted(
        text
        for text in texts
        if not any(first_clause(text) in each and begins(text, each) for each in known)
    )


def without_text(entries: Iterable[Entry], texts: Iterable[str]) -> list[str]:
    """Messages of the page with which no text of the source begins."""
    known = [message for entry in entries for message in entry.messages]
    return [each for each in known if not any(begins(text, each) for text in texts)]


@pytest.fixture(scope="module")
def ours() -> Messages:
    return messages_of(ROOT / "src" / "trackmllib")


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return entries_of((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))


def test_every_warning_has_an_entry(ours, entries):
    assert len(ours.warnings) > 50
    assert without_entry(ours.warnings, entries) == []


def test_every_error_has_an_entry(ours, entries):
    assert len(ours.errors) > 40
    assert without_entry(ours.errors, entries) == []


def test_every_entry_is_for_a_message(ours, entries):
    assert without_text(entries, ours.all) == []


def test_every_function_that_passes_a_warning_on_is_a_channel(ours):
    assert ours.not_channels == set()


def test_every_entry_says_more_than_its_heading(entries):
    messages = [message for entry in entries for message in entry.messages]
    assert len(set(messages)) == len(messages)
    for entry in entries:
        if entry.messages:
            lines = [line for line in entry.body.splitlines() if line and line[0] not in "*#"]
            assert 1 <= len(lines) <= 6, entry.messages


CODE = """
import logging
from package.other import NAME

logger = logging.getLogger("package")
_LATE = "The {} is late"

def direct(disk):
    logger.warning(f"The disk {disk} is full. Free some space.")
    logging.getLogger("package").warning("The old name %s", disk)
    logger.debug("This is for developers")

class Search:
    def warn(self, text: str) -> None:
        logger.log(logging.DEBUG if self.silent else logging.WARNING, "%s", text)

    def through_a_variable(self, few):
        what = "One fit" if few else f"{NAME} fits"
        text = f"{what} are missing"
        self.warn(text)

    def through_a_function(self, problems):
        self.warn(self._sentence())
        problems.add("id", _LATE.format("server"))

    def _sentence(self):
        return "The server " + ("refuses" if self.known else f"{self.address} is gone")

    def from_an_error(self):
        try:
            raise Broken(f"The file {self} is broken")
        except Broken as error:
            self.warn(f"{error}.")

class Broken(Exception):
    pass
"""
EXPECTED = {
    "The disk … is full. Free some space.",
    "The old name %s",
    "One fit are missing",
    "MLflow fits are missing",
    "The … is late",
    "The server refuses",
    "The server … is gone",
    "The file … is broken.",
}


def messages(code: str) -> Messages:
    return Messages({"package.code": code, "package.other": 'NAME = "MLflow"'})


def test_collects_the_texts_of_warnings():
    assert messages(CODE).warnings == EXPECTED


def test_new_warning_needs_an_entry():
    page = "## A\n\n" + "".join(f"### `{each}`\n\nText.\n\n" for each in EXPECTED)
    before, after = messages(CODE), messages(f'{CODE}\nlogger.warning("A new " + "text")')
    assert without_entry(before.warnings, entries_of(page)) == []
    assert without_entry(after.warnings, entries_of(page)) == ["A new text"]
    changed = messages(CODE.replace("The disk {disk} is full", "The disk {disk} has no space"))
    assert without_entry(changed.warnings, entries_of(page)) != []


def test_entry_for_a_message_that_is_gone_is_found():
    page = "## A\n\n### `The disk … is full`\n\n* `The server refuses`\n* `The server waits`\n"
    assert without_text(entries_of(page), messages(CODE).warnings) == ["The server waits"]
    assert without_text(entries_of("### `The … is empty`\n"), EXPECTED) == ["The … is empty"]


def test_vague_heading_covers_nothing():
    assert without_entry(EXPECTED, entries_of("### `The …`\n### `…`\n")) == sorted(EXPECTED)


def test_wrapper_that_is_no_channel_is_found():
    wrapper = "def tell(text: str):\n    logger.warning(text)\n"
    assert messages(wrapper).not_channels == {"tell"}
    assert messages(wrapper.replace("tell", "_warn_once")).not_channels == set()
