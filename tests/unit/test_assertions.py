"""Every test can fail by an assertion."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path

TESTS = Path(__file__).parents[1]
ASSERTING_CALLS = {"AssertionError", "expect", "fail", "raises", "warns"}


def called(function: ast.FunctionDef) -> set[str]:
    """Return the names of the functions and methods that a function calls."""
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {getattr(func, "attr", getattr(func, "id", "")) for func in calls}


def asserts(function: ast.FunctionDef) -> bool:
    has_statement = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    return has_statement or not ASSERTING_CALLS.isdisjoint(called(function))


def test_every_test_has_an_assertion():
    """In its own code, or in a function of the tests that it calls."""
    trees = {file: ast.parse(file.read_text()) for file in TESTS.rglob("*.py")}
    nodes = chain.from_iterable(map(ast.walk, trees.values()))
    helpers = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and asserts(node)}
    without = [
        f"{file.relative_to(TESTS)}::{node.name}"
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not asserts(node)
        and helpers.isdisjoint(called(node))
    ]
    assert without == []
