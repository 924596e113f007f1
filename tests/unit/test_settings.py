"""Options: which of argument, conf, variable and default holds, and what is said of bad ones."""

from __future__ import annotations

import importlib.util
import inspect
import math
from dataclasses import fields
from pathlib import Path

import pytest

import trackmllib
from trackmllib.options.given import NotGiven, default
from trackmllib.options.listed import OPTIONS
from trackmllib.settings import Settings

ROOT = Path(__file__).parents[2]

# For each option: as an argument, as a text, as another text, and the settings these make.
VALUES = {
    "disable": (True, "true", "FALSE", (False, True, False)),
    "silent": (True, "false", " True ", (True, False, True)),
    "flush_timeout": (7, "8.5", "1e2", (7.0, 8.5, 100.0)),
    "wait": (False, "true", "false", (False, True, False)),
    "redact": ("^a", "^b{1,2} c", "d", (("^a",), ("^b{1,2}", "c"), ("d",))),
    "log_models": ("best", "All", "false", ("best", "all", "none")),
    "registered_model_name": ("a", "b c ", "d", ("a", "b c", "d")),
    "log_input_examples": (True, "false", "true", (True, False, True)),
    "log_datasets": (True, "false", "true", (True, False, True)),
    "progress": (False, "true", "false", (False, True, False)),
    "report": (False, "true", "false", (False, True, False)),
    "history_server": ("http://a", "b ", "c", ("http://a", "b", "c")),
    "children": ("best:3", "Best:20 ", "all", ("best:3", "best:20", "all")),
    "record": (False, "true", "false", (False, True, False)),
    "reuse_stages": (True, "false", "true", (True, False, True)),
    "parallel_folds": (True, "false", "true", (True, False, True)),
    "max_cached_folds": (4, "3", " 1 ", (4, 3, 1)),
    "resume": (True, "seed", " True ", (True, "seed", True)),
    "code_version": ("a", "b ", "c", ("a", "b", "c")),
    "data_version": ("a", "b ", "c", ("a", "b", "c")),
    "on_error": ("skip", "retry:2, skip", "raise", ("skip", "retry:2, skip", "raise")),
    "candidate_timeout": (600, "8.5", "1e2", (600.0, 8.5, 100.0)),
}
BY_ARGUMENT = {option.argument: option for option in OPTIONS}


def read(conf: dict | None = None, environ: dict | None = None, **arguments) -> tuple:
    """The settings of a search, and what was said about them."""
    said: list[str] = []
    base = Settings.read(environ=environ or {}, warn=said.append, **arguments)
    return base.with_conf(conf or {}, said.append), said


def test_nothing_given_is_the_defaults():
    settings, said = read()
    assert settings == Settings()
    assert {option.name: option.value for option in OPTIONS}.items() <= vars(settings).items()
    assert said == []


@pytest.mark.parametrize("name", VALUES)
def test_argument_over_conf_over_variable_over_default(name):
    argument, text, other, (given, first, second) = VALUES[name]
    option = BY_ARGUMENT[name]
    key = option.keys[0]
    for arguments, conf, environ, expected in (
        ({name: argument}, {key: text}, {option.variable: other}, given),
        ({name: argument}, {}, {option.variable: other}, given),
        ({name: argument}, {key: text}, {}, given),
        ({}, {key: text}, {option.variable: other}, first),
        ({}, {key: other}, {option.variable: text}, second),
        ({}, {key: other}, {}, second),
        ({}, {}, {option.variable: other}, second),
        ({}, {}, {option.variable: text}, first),
        ({}, {}, {option.variable: " "}, option.value),
    ):
        settings, said = read(conf, environ, **arguments)
        assert getattr(settings, option.name) == expected, (arguments, conf, environ)
        assert said == []


def test_an_argument_that_says_the_default_is_given_all_the_same():
    for option in OPTIONS:
        _, *texts, (_, *values) = VALUES[option.argument]
        other = next(t for t, v in zip(texts, values, strict=True) if v != option.value)
        conf = {option.keys[0]: other}
        settings, _ = read(conf, **{option.argument: option.default})
        assert getattr(settings, option.name) == option.value
        settings, _ = read(conf, **{option.argument: default(option.default)})
        assert getattr(settings, option.name) != option.value


def test_every_argument_of_autolog_is_an_option_and_every_option_an_argument_and_a_setting():
    parameters = inspect.signature(trackmllib.autolog).parameters
    assert list(parameters) == [option.argument for option in OPTIONS] == list(VALUES)
    for option in OPTIONS:
        shown = parameters[option.argument].default
        assert isinstance(shown, NotGiven)
        assert shown.default == option.default
        assert repr(shown) == repr(option.default)
        assert f":param {option.argument}:" in trackmllib.autolog.__doc__
    names = [option.name for option in OPTIONS]
    assert [field.name for field in fields(Settings)][: len(names)] == names


def test_no_two_options_share_a_name():
    names = [name for option in OPTIONS for name in (option.variable, *option.keys)]
    assert len(set(names)) == len(names)
    assert BY_ARGUMENT["flush_timeout"].variable == "TRACKMLLIB_FLUSH_TIMEOUT"
    assert BY_ARGUMENT["flush_timeout"].keys == ("spark.trackmllib.flushTimeout",)


OURS, THEIRS = "spark.trackmllib.enabled", "spark.databricks.mlflow.trackMLlib.enabled"


@pytest.mark.parametrize(
    ("conf", "enabled", "refused"),
    [
        ({}, True, 0),
        ({OURS: "true", THEIRS: "TRUE"}, True, 0),
        ({OURS: "false"}, False, 0),
        ({THEIRS: " False "}, False, 0),
        ({OURS: "true", THEIRS: "false"}, False, 0),
        ({OURS: "0"}, True, 1),
        ({OURS: ""}, True, 1),
        ({OURS: "nein", THEIRS: "false"}, False, 1),
    ],
)
def test_one_false_of_the_two_keys_is_enough(conf, enabled, refused):
    settings, said = read(conf)
    assert settings.enabled is enabled
    assert len(said) == refused


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"disable": "yes"}, TypeError, "disable is 'yes', but must be True or False"),
        ({"silent": 1}, TypeError, "silent is 1, but must be True or False"),
        ({"wait": None}, TypeError, "wait is None, but must be True or False"),
        (
            {"flush_timeout": "30"},
            TypeError,
            "flush_timeout is '30', but must be a number of seconds",
        ),
        ({"flush_timeout": True}, TypeError, "flush_timeout is True, but must be a number"),
        ({"flush_timeout": math.nan}, ValueError, "flush_timeout is nan, but must be from 0 to"),
        ({"redact": None}, TypeError, "redact is None, but must be a regular expression, or"),
        ({"redact": ["a", "("]}, ValueError, "redact holds '(', which is no regular expression"),
        (
            {"log_models": "bst"},
            ValueError,
            "log_models is 'bst', but must be 'none', 'best' or 'all' (did you mean 'best'?)",
        ),
        ({"log_models": "Best"}, ValueError, "'all' (did you mean 'best'?)"),
        ({"log_models": True}, ValueError, "log_models is True, but must be 'none', 'best' or"),
        ({"log_models": 3}, TypeError, "log_models is 3, but must be 'none', 'best' or 'all'"),
        ({"registered_model_name": ""}, ValueError, "must be a text that is not empty, or None"),
        ({"registered_model_name": 3}, TypeError, "registered_model_name is 3, but must be a te"),
        ({"log_datasets": "true"}, TypeError, "log_datasets is 'true', but must be True or False"),
        ({"parallel_folds": "yes"}, TypeError, "parallel_folds is 'yes', but must be True or Fal"),
        ({"children": "best:x"}, ValueError, "children is 'best:x', but must be 'all' or 'best:<"),
        ({"children": "best:0"}, ValueError, "but must be 'all' or 'best:<number>', such as 'bes"),
        ({"children": 20}, TypeError, "children is 20, but must be 'all' or 'best:<number>'"),
        ({"max_cached_folds": 0}, ValueError, "max_cached_folds is 0, but must be a whole number"),
        ({"max_cached_folds": 1.5}, TypeError, "max_cached_folds is 1.5, but must be a whole num"),
        ({"resume": "sed"}, ValueError, "resume is 'sed', but must be True, False or 'seed' (did "),
        ({"resume": 1}, TypeError, "resume is 1, but must be True, False or 'seed'"),
        ({"data_version": 3}, TypeError, "data_version is 3, but must be a text or None"),
        ({"on_error": "skp"}, ValueError, "on_error is 'skp' (did you mean 'skip'?), but must be"),
        ({"on_error": "retry:-1"}, ValueError, "on_error is 'retry:-1' (did you mean 'retry:2'?)"),
        ({"on_error": "retry:0"}, ValueError, "on_error is 'retry:0' (did you mean 'retry:2'?), "),
        ({"on_error": 2}, TypeError, "on_error is 2, but must be 'raise', 'skip', 'retry:<number>"),
        ({"candidate_timeout": 0}, ValueError, "candidate_timeout is 0, but must be a number of s"),
        ({"candidate_timeout": "9"}, TypeError, "candidate_timeout is '9', but must be a number o"),
    ],
)
def test_a_bad_argument_is_an_error_with_a_sentence(arguments, error, sentence):
    with pytest.raises(error) as raised:
        Settings.read(environ={}, **arguments)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("value", ["none", None, False])
def test_no_models_has_three_spellings(value):
    assert Settings.read(environ={}, log_models=value).log_models == "none"


BAD_TEXTS = [
    ("wait", "flase", "'flase', but must be true or false (did you mean 'false'?); true holds"),
    ("wait", "0", "'0', but must be true or false (did you mean 'false'?); true holds instead."),
    ("silent", "yes", "'yes', but must be true or false (did you mean 'true'?); false holds ins"),
    ("disable", "maybe", "'maybe', but must be true or false; true holds instead."),
    ("flush_timeout", "soon", "'soon', but must be a number of seconds; 30 holds instead."),
    ("flush_timeout", "60s", "must be a number of seconds (did you mean '60'?); 30 holds"),
    ("flush_timeout", "nan", "'nan', but must be from 0 to "),
    ("flush_timeout", "-1", "'-1', but must be from 0 to "),
    ("log_models", "bst", "'none', 'best' or 'all' (did you mean 'best'?); none holds instead."),
    ("log_models", "true", "'true', but must be 'none', 'best' or 'all'; none holds instead."),
    ("log_datasets", "on", "(did you mean 'true'?); false holds instead."),
    ("parallel_folds", "yes", "'yes', but must be true or false (did you mean 'true'?); false"),
    ("children", "best:x", "'best:x', but must be 'all' or 'best:<number>', such as 'best:20'; al"),
    ("children", "20", "'20', but must be 'all' or 'best:<number>', such as 'best:20'; all holds"),
    ("max_cached_folds", "0", "'0', but must be a whole number from 1 on; 2 holds instead."),
    ("max_cached_folds", "²", "'²', but must be a whole number from 1 on; 2 holds instead."),
    ("resume", "sed", "'sed', but must be true, false or seed (did you mean 'seed'?); false holds"),
    ("on_error", "skp", "'retry:2,skip' (did you mean 'skip'?); raise holds instead."),
    ("candidate_timeout", "0", "'0', but must be a number of seconds above 0, or None; none holds"),
    ("candidate_timeout", "60s", "above 0, or None (did you mean '60'?); none holds instead."),
]


@pytest.mark.parametrize(("name", "text", "sentence"), BAD_TEXTS)
def test_a_bad_text_is_one_sentence_and_has_no_effect(name, text, sentence):
    option = BY_ARGUMENT[name]
    for place in (option.variable, option.keys[0]):
        where = "environ" if place == option.variable else "conf"
        settings, said = read(**{where: {place: text}})
        assert getattr(settings, option.name) == option.value
        (sentence_said,) = said
        assert sentence_said.startswith(f"{place} is ")
        assert sentence in sentence_said
        assert sentence_said.count(". ") == 0


def test_after_a_bad_conf_value_the_variable_holds_and_after_a_bad_variable_the_default():
    variable, (key,) = BY_ARGUMENT["flush_timeout"].variable, BY_ARGUMENT["flush_timeout"].keys
    settings, said = read({key: "x"}, {variable: "7"})
    assert settings.flush_timeout == 7.0
    assert said == [f"{key} is 'x', but must be a number of seconds; 7 holds instead."]
    settings, said = read({key: "x"}, {variable: "y"}, flush_timeout=8)
    assert settings.flush_timeout == 8.0
    assert [sentence.partition(" is ")[0] for sentence in said] == [variable, key]
    assert all("8 holds instead." in sentence for sentence in said)
    settings, said = read({"spark.trackmllib.registeredModelName": " "})
    assert settings.registered_model_name is None
    assert "must be a text that is not empty; none holds instead." in said[0]


def test_of_the_expressions_of_redact_the_good_ones_hold_and_what_was_hidden_stays_so():
    settings, said = read(
        {"spark.trackmllib.redact": "Url$ ( [ ,"}, {"TRACKMLLIB_REDACT": "^internal"}
    )
    (sentence,) = said
    assert "these are none: '(' (missing )" in sentence
    assert "'[' (unterminated" in sentence
    assert sentence.endswith("'^internal Url$ ,' holds instead.")
    hides = settings.redaction.hides
    assert [hides(name) for name in ("internalId", "jdbcUrl", "apiKey", "maxDepth")] == [
        *(True, True, True, False)
    ]


@pytest.mark.parametrize(
    ("place", "name", "meant"),
    [
        ("environ", "TRACKMLLIB_FLUSHTIMEOUT", "TRACKMLLIB_FLUSH_TIMEOUT"),
        ("environ", "TRACKMLLIB_flush_timeout", "TRACKMLLIB_FLUSH_TIMEOUT"),
        ("environ", "TRACKMLLIB_DISABLE", "TRACKMLLIB_ENABLED"),
        ("environ", "TRACKMLLIB_LOG_MODEL", "TRACKMLLIB_LOG_MODELS"),
        ("environ", "TRACKMLLIB_HOMES", "TRACKMLLIB_HOME"),
        ("conf", "spark.trackmllib.flush_timeout", "spark.trackmllib.flushTimeout"),
        ("conf", "spark.trackmllib.flushtimeout", "spark.trackmllib.flushTimeout"),
        ("conf", "spark.trackMLlib.wait", "spark.trackmllib.wait"),
        ("conf", "spark.trackmllib.enable", "spark.trackmllib.enabled"),
        ("conf", "spark.trackmllib.disable", "spark.trackmllib.enabled"),
    ],
)
def test_an_unknown_name_is_one_sentence_with_the_name_that_was_meant(place, name, meant):
    settings, said = read(**{place: {name: "false"}})
    assert settings == Settings()
    (sentence,) = said
    assert f" {name} is not known to trackmllib (did you mean {meant}?), and has no ef" in sentence


def test_an_unknown_name_that_is_near_none_is_told_which_there_are():
    _, (variable, key) = read({"spark.trackmllib.zzz": "1"}, {"TRACKMLLIB_QQQ": "1"})
    assert "did you mean" not in variable + key
    for option in OPTIONS:
        assert option.variable in variable
        assert option.keys[0] in key


def test_variables_and_keys_of_others_say_nothing():
    conf = {"spark.trackmllibrary.wait": "x", "spark.app.name": "x"}
    known = ("TRACKMLLIB_HOME", "TRACKMLLIB_AUTOLOG", "TRACKMLLIB_ROUNDS", "TRACKMLLIB_STRICT")
    settings, said = read(conf, {"MLFLOW_X": "x", "TRACKMLLIBX": "x", **dict.fromkeys(known, "x")})
    assert settings == Settings()
    assert said == []


def test_strict_is_read_from_the_environment():
    assert Settings.read(environ={"TRACKMLLIB_STRICT": "1"}).strict
    assert not Settings.read(environ={"TRACKMLLIB_STRICT": "0"}).strict
    assert not Settings.read(environ={}).strict


def test_the_table_in_the_docs_is_what_the_code_makes():
    spec = importlib.util.spec_from_file_location("configuration", ROOT / "tools/configuration.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page == tool.with_table(page), "make docs"
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    assert rows[: len(OPTIONS)] == [f"| `{option.argument}`" for option in OPTIONS]
    without = page.replace(tool.table(), "")
    assert without != page == tool.with_table(without)


def test_the_sentences_in_the_docs_are_the_ones_that_are_said():
    _, said = read({"spark.trackmllib.wait": "flase"}, {"TRACKMLLIB_FLUSHTIMEOUT": "1"})
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for sentence in said:
        assert f"\n{sentence}\n" in page
