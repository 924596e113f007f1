"""Files of a public project: versions, dependencies, workflows and the project's address."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import yaml
from packaging.requirements import Requirement

from trackmllib.version import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
YAML_FILES = sorted([*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"])


def text(path: str) -> str:
    return ROOT.joinpath(path).read_text(encoding="utf-8")


def pyproject() -> dict[str, Any]:
    return tomlkit.parse(text("pyproject.toml")).unwrap()


def recipe() -> Any:
    return yaml.safe_load(text("conda-recipe/recipe.yaml"))


def repository() -> str:
    return pyproject()["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            for step in job["steps"]:
                yield path.name, step


def requirement(spec: str) -> str:
    """A requirement of pip or conda, so that equal ones are equal texts."""
    parsed = Requirement(spec)
    return f"{parsed.name} {parsed.specifier}"


def test_versions_are_equal():
    assert yaml.safe_load(text("CITATION.cff"))["version"] == __version__
    assert recipe()["context"]["version"] == __version__


def release_problems(tag: str, address: str) -> list[str]:
    """What prevents a release by this tag."""
    wrong_tag = [] if tag == f"v{__version__}" else [f"{tag} is not version {__version__}"]
    return wrong_tag + (["the address is not set"] if "/OWNER/" in address else [])


def test_tag_is_the_version_and_the_address_is_set():
    """Checks the release on whose tag it runs; elsewhere, that the check finds problems."""
    if os.environ.get("GITHUB_REF_TYPE") == "tag":
        assert release_problems(os.environ["GITHUB_REF_NAME"], repository()) == []
    assert len(release_problems("v0", "https://example.com/OWNER/project")) == 2
    assert release_problems(f"v{__version__}", "https://example.com/us/project") == []


def test_recipe_has_the_dependencies_of_the_package():
    project, requirements = pyproject()["project"], recipe()["requirements"]
    python, *run = requirements["run"]
    assert python == "python >=${{ python_min }}"
    assert f">={recipe()['context']['python_min']}" == project["requires-python"]
    assert sorted(map(requirement, run)) == sorted(map(requirement, project["dependencies"]))
    optional = project["optional-dependencies"]["spark"]
    assert list(map(requirement, requirements["run_constraints"])) == list(
        map(requirement, optional)
    )
    assert recipe()["build"]["python"]["entry_points"] == [
        f"{name} = {target}" for name, target in project["scripts"].items()
    ]


def test_summaries_are_equal():
    description = pyproject()["project"]["description"]
    assert recipe()["about"]["summary"] == description
    assert yaml.safe_load(text("CITATION.cff"))["abstract"] == description


def project_files() -> Iterator[Path]:
    """All files but those that make, tests and tools create."""
    created = {"__pycache__", "_build", "artifacts", "dist", "mlruns", "spark-warehouse"}
    for folder, names, files in os.walk(ROOT):
        if "pyvenv.cfg" in files:
            names.clear()
            continue
        names[:] = [
            name
            for name in names
            if name not in created and (name[0] != "." or name in (".ci", ".github"))
        ]
        # Metadata of a source distribution, and what programs that ran in a clone leave.
        others = {file for file in files if file == "PKG-INFO" or file.endswith(".db")}
        yield from (Path(folder, file) for file in set(files) - others)


def test_address_is_only_in_pyproject():
    address = repository().removeprefix("https://github.com/").lower().encode()
    found = [path.name for path in project_files() if address in path.read_bytes().lower()]
    assert found == ["pyproject.toml"]


def test_workflows_run_only_make_targets_and_ci():
    targets = set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), re.MULTILINE))
    for file, step in steps():
        if (command := step.get("run")) is None or command == "bash .ci/run":
            continue
        program, target, *variables = re.sub(r"\$\{\{.*?\}\}", "x", command).split()
        assert program == "make", file
        assert target in targets, file
        assert all(re.fullmatch(r"[A-Z]+=[\w./=-]+", each) for each in variables), file


def test_actions_are_pinned_to_commits_or_named_in_releasing():
    releasing = text("RELEASING.md")
    for file, step in steps():
        if (uses := step.get("uses")) is not None:
            _, _, ref = uses.partition("@")
            assert re.fullmatch("[0-9a-f]{40}", ref) or f"`{uses}`" in releasing, file


def test_pinned_actions_name_their_version():
    for path in WORKFLOWS:
        pins = re.findall(r"@[0-9a-f]{40}\b.*", path.read_text(encoding="utf-8"))
        assert pins
        assert all(re.fullmatch(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin) for pin in pins)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_has_least_privileges(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        for step in job["steps"]:
            if "actions/checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_readable(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name",
    [
        "CODE_OF_CONDUCT.md",
        "CONTRIBUTING.md",
        "RELEASING.md",
        "SECURITY.md",
        "SUPPORT.md",
    ],
)
def test_relative_links_lead_to_files(name):
    # ../../ leaves the files for the pages of the forge: issues, discussions, advisories.
    links = re.findall(r"\]\((?!https://|\.\./\.\./)([^)#]+)", text(name))
    assert [link for link in links if not ROOT.joinpath(link).exists()] == []
