"""Patches of functions, installed and removed."""

from __future__ import annotations

import logging
import pickle
import types

import pytest

from trackmllib.support.patching import Patch, is_patched

pytestmark = pytest.mark.versions


class Base:
    def method(self, x):
        return ["base", x]


class Child(Base):
    pass


def doubled(original, self, x):
    return ["ours", *original(self, x)]


def test_patch_of_inherited_method_calls_later_patch_of_base(monkeypatch):
    patch = Patch(Child, "method", doubled)
    patch.install()
    patch.install()
    assert Child().method(1) == ["ours", "base", 1]
    assert is_patched(Child.method)
    monkeypatch.setattr(Base, "method", lambda self, x: ["theirs", x])
    assert Child().method(1) == ["ours", "theirs", 1]
    patch.uninstall()
    assert "method" not in vars(Child)
    patch.uninstall()


def test_wrapper_pickles_as_original():
    patch = Patch(Child, "method", doubled)
    patch.install()
    try:
        assert pickle.loads(pickle.dumps(vars(Child)["method"])) is Base.method
    finally:
        patch.uninstall()


def test_uninstall_restores_function_of_module():
    module = types.ModuleType("m")
    original = module.f = lambda x: x
    patch = Patch(module, "f", lambda f, x: f(x) + 1)
    patch.install()
    assert module.f(1) == 2
    patch.uninstall()
    assert module.f is original


def test_uninstalled_patch_below_another_wrapper_passes_calls_through(caplog):
    module = types.ModuleType("m")
    module.f = lambda x: x
    patch = Patch(module, "f", lambda f, x: f(x) + 1)
    patch.install()
    ours = module.f
    module.f = lambda x: ours(x) * 10
    with caplog.at_level(logging.DEBUG):
        patch.uninstall()
    assert "passes calls through" in caplog.text
    assert module.f(1) == 10
    patch.install()
    assert module.f(1) == 11
    patch.uninstall()
    assert module.f(1) == 10
