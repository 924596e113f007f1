"""Which distribution a module belongs to, or that it is the user's own code."""

from __future__ import annotations

import importlib
import sys
import zipfile

import numpy as np
import pytest

from support.installed_package import forget_distributions, install
from trackmllib.spark.introspection.distributions import library_of_module

CODE = {"scores_a/__init__.py": "", "scores_a/f1.py": "def f1(): return 1\n"}


@pytest.fixture
def library_in(monkeypatch):
    """Return a function that returns the library of a module in a folder, as a new process does."""

    def library(folder, module: str) -> str | None:
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            forget_distributions()
            importlib.import_module(module)
            found = library_of_module(module)
            for name in [name for name in sys.modules if name.startswith("scores_")]:
                del sys.modules[name]
        return found

    yield library
    forget_distributions()


def test_library_is_its_name_version_and_files(tmp_path, library_in):
    other = {**CODE, "scores_a/f1.py": "def f1(): return 2\n"}
    found = []
    for number, (version, files) in enumerate(
        (("1.0", CODE), ("1.0", CODE), ("1.1", CODE), ("1.0", other))
    ):
        install(tmp_path / str(number), "scores-a", version, files)
        found.append(library_in(tmp_path / str(number), "scores_a.f1"))
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert found[0].startswith("scores-a 1.0 ")


def test_lines_of_the_installer_do_not_count(tmp_path, library_in):
    installed = (
        "scores-a-1.0.dist-info/INSTALLER,sha256=abc,4",
        "scores-a-1.0.dist-info/REQUESTED,sha256=abc,0",
        "scores_a/__pycache__/f1.cpython-311.pyc,,",
        "scores_a/__pycache__/f1.cpython-310.pyc,sha256=abc,9",
        "../../../bin/scores,sha256=abc,200",
        "",
    )
    install(tmp_path / "a", "scores-a", "1.0", CODE)
    install(tmp_path / "b", "scores-a", "1.0", dict(reversed(CODE.items())), installed)
    libraries = [library_in(tmp_path / name, "scores_a.f1") for name in "ab"]
    assert libraries[0] == libraries[1] is not None


def with_direct_url(folder):
    (install(folder, "scores-a", "1.0", CODE) / "direct_url.json").write_text(
        '{"url": "file:///x"}'
    )


def without_record(folder):
    (install(folder, "scores-a", "1.0", CODE) / "RECORD").unlink()


def with_unlisted_module(folder):
    install(folder, "scores-a", "1.0", {"scores_a/__init__.py": ""})
    (folder / "scores_a" / "f1.py").write_text("")


def with_module_without_hash(folder):
    install(folder, "scores-a", "1.0", {"scores_a/__init__.py": ""}, ("scores_a/f1.py,,",))
    (folder / "scores_a" / "f1.py").write_text("")


def with_file_of_an_own_distribution(folder):
    install(folder, "scores-b", "1.0", CODE)
    with_direct_url(folder)


@pytest.mark.parametrize(
    "make",
    [
        with_direct_url,
        without_record,
        with_unlisted_module,
        with_module_without_hash,
        with_file_of_an_own_distribution,
    ],
)
def test_module_is_user_code(tmp_path, library_in, make):
    make(tmp_path)
    assert library_in(tmp_path, "scores_a.f1") is None


def test_module_in_a_zip_file_is_user_code(tmp_path, library_in):
    """As with ``spark.submit.pyFiles``; a wheel has a RECORD."""
    install(tmp_path / "folder", "scores-a", "1.0", CODE)
    wheel = tmp_path / "scores.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for path in (tmp_path / "folder").rglob("*.*"):
            if path.is_file():
                file.write(path, path.relative_to(tmp_path / "folder"))
    assert library_in(wheel, "scores_a.f1") is None


def test_distributions_share_a_namespace_package(tmp_path, library_in):
    install(tmp_path, "scores-a", "1.0", {"scores_n/a.py": ""})
    install(tmp_path, "scores-b", "2.0", {"scores_n/b.py": ""})
    assert library_in(tmp_path, "scores_n.a").startswith("scores-a 1.0 ")
    assert library_in(tmp_path, "scores_n.b").startswith("scores-b 2.0 ")


def test_module_of_two_distributions_is_compared_by_both(tmp_path, library_in):
    install(tmp_path, "scores-a", "1.0", CODE)
    alone = library_in(tmp_path, "scores_a.f1")
    install(tmp_path, "scores-b", "2.0", CODE)
    assert library_in(tmp_path, "scores_a.f1").startswith(f"{alone}, scores-b 2.0 ")


def test_compiled_module_belongs_to_its_distribution():
    library = library_of_module("numpy.random.mtrand")
    assert library == library_of_module("numpy")
    assert library.startswith(f"numpy {np.__version__} ")


@pytest.mark.parametrize("folder", ["zip", "site-packages", "project"])
def test_own_module_named_like_a_standard_one_is_user_code(tmp_path, monkeypatch, folder):
    """The standard library is the one folder that has functools.py."""
    monkeypatch.delitem(sys.modules, "this", raising=False)
    place = tmp_path / folder
    if folder == "zip":
        with zipfile.ZipFile(place, "w") as file:
            file.writestr("this.py", "")
    else:
        place.mkdir()
        (place / "this.py").write_text("")
    monkeypatch.syspath_prepend(place)
    forget_distributions()
    assert library_of_module("this") is None
    assert library_of_module("json").startswith("python 3.")
    assert library_of_module("builtins") == library_of_module("json")
    forget_distributions()
