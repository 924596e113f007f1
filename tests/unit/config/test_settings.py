"""Options: precedence of argument, conf, variable and default; messages about bad values."""

from __future__ import annotations

import importlib.util
import inspect
import math
from pathlib import Path

import pytest

import trackmllib
from trackmllib.config.children import child_run_limit
from trackmllib.config.names import OPTIONS
from trackmllib.config.options import Options
from trackmllib.config.sentinel import NotGiven, default
from trackmllib.config.settings import Settings

pytestmark = pytest.mark.versions

ROOT = Path(__file__).parents[3]

# For each option: an argument, a text, another text, and the settings that result.
VALUES = {
    "disable": (True, "true", "FALSE", (False, True, False)),
    "silent": (True, "false", " True ", (True, False, True)),
    "flush_timeout": (7, "8.5", "1e2", (7.0, 8.5, 100.0)),
    "wait": (False, "true", "false", (False, True, False)),
    "redact": ("^a", "^b{1,2} c", "d", (("^a",), ("^b{1,2}", "c"), ("d",))),
    "metrics": (["f1"], "rmse r2", "logLoss", (("f1",), ("rmse", "r2"), ("logLoss",))),
    "train_scores": (True, "false", "true", (True, False, True)),
    "log_models": ("best", "All", "false", ("best", "all", "none")),
    "registered_model_name": ("a", "b c ", "d", ("a", "b c", "d")),
    "log_input_examples": (True, "false", "true", (True, False, True)),
    "log_datasets": (True, "false", "true", (True, False, True)),
    "rank_tags": (True, "false", "true", (True, False, True)),
    "primary_metric": (True, "false", "true", (True, False, True)),
    "extra_tags": (
        {"team": "x"},
        " team=y,stage = dev ",
        '{"a b": "=,"}',
        ({"team": "x"}, {"team": "y", "stage": "dev"}, {"a b": "=,"}),
    ),
    "log_post_training_metrics": (True, "false", "none", (True, False, None)),
    "exclusive": (True, "false", "true", (True, False, True)),
    "progress": (False, "true", "false", (False, True, False)),
    "report": (False, "true", "false", (False, True, False)),
    "history_server": ("http://a", "b ", "c", ("http://a", "b", "c")),
    "children": ("best:3", "Best:20 ", "all", ("best:3", "best:20", "all")),
    "record": (False, "true", "false", (False, True, False)),
    "accelerate": (True, "false", "true", (True, False, True)),
    "reuse_stages": (True, "false", "none", (True, False, None)),
    "nested_fits": (True, "false", "none", (True, False, None)),
    "parallel_folds": (True, "false", "none", (True, False, None)),
    "max_cached_folds": (4, "3", " 1 ", (4, 3, 1)),
    "resume": (True, "seed", " True ", (True, "seed", True)),
    "code_version": ("a", "b ", "c", ("a", "b", "c")),
    "data_version": ("a", "b ", "c", ("a", "b", "c")),
    "on_error": ("skip", "retry:2, skip", "raise", ("skip", "retry:2, skip", "raise")),
    "candidate_timeout": (600, "8.5", "1e2", (600.0, 8.5, 100.0)),
}
BY_ARGUMENT = {option.argument: option for option in OPTIONS}


def read(conf: dict | None = None, environ: dict | None = None, **arguments) -> tuple:
    """The settings of a search, and the messages about them."""
    messages: list[str] = []
    base = Settings.read(environ=environ or {}, warn=messages.append, **arguments)
    return base.with_conf(conf or {}, messages.append), messages


def test_defaults():
    settings, messages = read()
    assert settings == Settings()
    assert all(getattr(settings, option.name) == option.field.default for option in OPTIONS)
    assert messages == []


def test_accelerate_turns_on_options_that_are_not_false():
    settings, _ = read(accelerate=True, parallel_folds=False)
    assert settings.enabled_accelerations == ("reuse_stages", "nested_fits")
    settings, _ = read({"spark.trackmllib.nestedFits": "false"}, {"TRACKMLLIB_ACCELERATE": "true"})
    assert settings.enabled_accelerations == ("reuse_stages", "parallel_folds")
    settings, _ = read(nested_fits=True)
    assert settings.enabled_accelerations == ("nested_fits",)


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
        ({}, {}, {option.variable: " "}, option.field.default),
    ):
        settings, messages = read(conf, environ, **arguments)
        assert getattr(settings, option.name) == expected, (arguments, conf, environ)
        assert messages == []


def test_argument_equal_to_default_overrides_conf():
    for option in OPTIONS:
        _, *texts, (_, *values) = VALUES[option.argument]
        other = next(t for t, v in zip(texts, values, strict=True) if v != option.field.default)
        conf = {option.keys[0]: other}
        settings, _ = read(conf, **{option.argument: option.default})
        assert getattr(settings, option.name) == option.field.default
        settings, _ = read(conf, **{option.argument: default(option.default)})
        assert getattr(settings, option.name) != option.field.default


def test_autolog_signature_and_docstring_match_the_options():
    parameters = inspect.signature(trackmllib.autolog).parameters
    assert list(parameters) == [option.argument for option in OPTIONS] == list(VALUES)
    for option in OPTIONS:
        shown = parameters[option.argument].default
        assert isinstance(shown, NotGiven)
        assert shown.default == option.default
        assert repr(shown) == repr(option.default)
        assert f"\n    {option.argument}: " in inspect.cleandoc(trackmllib.autolog.__doc__)


def test_every_option_has_a_help_text_and_an_expectation():
    for option in OPTIONS:
        assert option.help
        assert option.expected.as_argument


def test_settings_and_options_are_immutable():
    for settings in (Options(), Settings()):
        with pytest.raises(ValueError, match="frozen"):
            settings.wait = False


def test_option_names_are_unique():
    names = [name for option in OPTIONS for name in (option.variable, *option.keys)]
    assert len(set(names)) == len(names)
    assert BY_ARGUMENT["flush_timeout"].variable == "TRACKMLLIB_FLUSH_TIMEOUT"
    assert BY_ARGUMENT["flush_timeout"].keys == ("spark.trackmllib.flushTimeout",)


OURS, THEIRS = "spark.trackmllib.enabled", "spark.databricks.mlflow.trackMLlib.enabled"


@pytest.mark.parametrize(
    ("conf", "enabled", "bad"),
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
def test_one_false_key_of_two_suffices(conf, enabled, bad):
    settings, messages = read(conf)
    assert settings.enabled is enabled
    assert len(messages) == bad


SECONDS = "a number of seconds from 0 to 9223372036"
STRING = "a non-empty string or None"
ON_ERROR = (
    "on_error is {!r}, but must be 'raise', 'skip', 'retry:<number>' or 'retry:<number>,skip', "
    "such as 'retry:2,skip' (did you mean {!r}?)"
)
TAGS = (
    'a dict of strings, such as {"team": "search"}, without keys that start with "mlflow." or '
    '"trackmllib."'
)
TAGS_AS_TEXT = (
    'tags such as team=search,stage=dev or {"team": "search"}, without keys that start with '
    '"mlflow." or "trackmllib."'
)
PATTERNS = "a regular expression or several, such as "


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"disable": "yes"}, TypeError, "disable is 'yes', but must be True or False"),
        ({"silent": 1}, TypeError, "silent is 1, but must be True or False"),
        ({"wait": None}, TypeError, "wait is None, but must be True or False"),
        (
            {"flush_timeout": "30"},
            TypeError,
            f"flush_timeout is '30', but must be {SECONDS}",
        ),
        ({"flush_timeout": 10**400}, ValueError, f"but must be {SECONDS}"),
        ({"flush_timeout": True}, TypeError, f"flush_timeout is True, but must be {SECONDS}"),
        (
            {"flush_timeout": math.nan},
            ValueError,
            f"flush_timeout is nan, but must be {SECONDS}",
        ),
        (
            {"redact": None},
            TypeError,
            f"redact is None, but must be {PATTERNS}",
        ),
        (
            {"redact": ["a", "("]},
            ValueError,
            f"redact is ['a', '('], but must be {PATTERNS}",
        ),
        (
            {"log_models": "bst"},
            ValueError,
            "log_models is 'bst', but must be 'none', 'best' or 'all' (did you mean 'best'?)",
        ),
        ({"log_models": "Best"}, ValueError, "'all' (did you mean 'best'?)"),
        ({"log_models": True}, ValueError, "log_models is True, but must be 'none', 'best' or"),
        ({"log_models": 3}, TypeError, "log_models is 3, but must be 'none', 'best' or 'all'"),
        (
            {"registered_model_name": ""},
            ValueError,
            f"registered_model_name is '', but must be {STRING}",
        ),
        (
            {"registered_model_name": 3},
            TypeError,
            f"registered_model_name is 3, but must be {STRING}",
        ),
        ({"log_datasets": "true"}, TypeError, "log_datasets is 'true', but must be True or False"),
        ({"extra_tags": [("team", "x")]}, TypeError, f"[('team', 'x')], but must be {TAGS}"),
        ({"extra_tags": "team=x"}, TypeError, f"extra_tags is 'team=x', but must be {TAGS}"),
        ({"extra_tags": {"team": 1}}, TypeError, f"{{'team': 1}}, but must be {TAGS}"),
        ({"extra_tags": {1: "x"}}, TypeError, f"extra_tags is {{1: 'x'}}, but must be {TAGS}"),
        ({"extra_tags": {"mlflow.user": "x"}}, ValueError, f"{TAGS}; 'mlflow.user' cannot be set"),
        (
            {"extra_tags": {"trackmllib.best": "x", "": "y"}},
            ValueError,
            f"{TAGS}; 'trackmllib.best', '' cannot be set",
        ),
        ({"train_scores": "yes"}, TypeError, "train_scores is 'yes', but must be True or Fal"),
        ({"children": "best:x"}, ValueError, "children is 'best:x', but must be 'all' or 'best:<"),
        ({"children": "best:0"}, ValueError, "but must be 'all' or 'best:<number>', such as 'bes"),
        ({"children": 20}, TypeError, "children is 20, but must be 'all' or 'best:<number>'"),
        ({"max_cached_folds": 0}, ValueError, "max_cached_folds is 0, but must be a whole number"),
        ({"max_cached_folds": 1.5}, TypeError, "max_cached_folds is 1.5, but must be a whole num"),
        ({"resume": "sed"}, ValueError, "resume is 'sed', but must be True, False or 'seed' (did "),
        ({"resume": 1}, TypeError, "resume is 1, but must be True, False or 'seed'"),
        (
            {"data_version": 3},
            TypeError,
            f"data_version is 3, but must be {STRING}",
        ),
        ({"on_error": "skp"}, ValueError, ON_ERROR.format("skp", "skip")),
        ({"on_error": "retry:-1"}, ValueError, ON_ERROR.format("retry:-1", "retry:2")),
        ({"on_error": "retry:0"}, ValueError, ON_ERROR.format("retry:0", "retry:2")),
        ({"on_error": 2}, TypeError, "on_error is 2, but must be 'raise', 'skip', 'retry:<number>"),
        ({"candidate_timeout": 0}, ValueError, "candidate_timeout is 0, but must be a number of s"),
        ({"candidate_timeout": "9"}, TypeError, "candidate_timeout is '9', but must be a number o"),
    ],
)
def test_bad_argument_raises(arguments, error, message):
    with pytest.raises(error) as raised:
        Settings.read(environ={}, **arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", ["none", None, False])
def test_three_spellings_of_no_models(value):
    assert Settings.read(environ={}, log_models=value).log_models == "none"


@pytest.mark.parametrize(("children", "limit"), [("all", None), ("best:1", 1), ("best:200", 200)])
def test_child_run_limit(children, limit):
    assert Settings.read(environ={}, children=children).children == children
    assert child_run_limit(children) == limit


@pytest.mark.parametrize("children", ["", "none", "best", "best:0", "best:-1", "best:2 ", "best:²"])
def test_child_run_limit_rejects_other_values(children):
    with pytest.raises(ValueError, match="children is"):
        Settings.read(environ={}, children=children)
    with pytest.raises(ValueError, match="is neither 'all' nor 'best:<number>'"):
        child_run_limit(children)


BAD_TEXTS = [
    ("wait", "flase", "'flase', but must be true or false (did you mean 'false'?); using true"),
    ("wait", "0", "'0', but must be true or false (did you mean 'false'?); using true instead."),
    ("silent", "yes", "'yes', but must be true or false (did you mean 'true'?); using fal"),
    ("disable", "maybe", "'maybe', but must be true or false; using true instead."),
    (
        "flush_timeout",
        "soon",
        f"'soon', but must be {SECONDS}; using 30 instead.",
    ),
    ("flush_timeout", "60s", f"'60s', but must be {SECONDS} (did you mean '60'?); using 30"),
    ("flush_timeout", "nan", f"'nan', but must be {SECONDS}; using 30 instead."),
    ("flush_timeout", "-1", f"'-1', but must be {SECONDS}; using 30 instead."),
    ("log_models", "bst", "'none', 'best' or 'all' (did you mean 'best'?); using none instead."),
    ("log_models", "true", "'true', but must be 'none', 'best' or 'all'; using none instead."),
    ("log_datasets", "on", "(did you mean 'true'?); using false instead."),
    ("extra_tags", "team", f"'team', but must be {TAGS_AS_TEXT}; using none instead."),
    ("extra_tags", '{"a": 1}', f"but must be {TAGS_AS_TEXT}; using none instead."),
    ("extra_tags", "{", f"'{{', but must be {TAGS_AS_TEXT}; using none instead."),
    ("extra_tags", "mlflow.user=x", "; 'mlflow.user' cannot be set; using none instead."),
    ("train_scores", "yes", "'yes', but must be true or false (did you mean 'true'?); using f"),
    ("children", "best:x", "'best:x', but must be 'all' or 'best:<number>', such as 'best:20'; us"),
    ("children", "20", "'20', but must be 'all' or 'best:<number>', such as 'best:20'; using a"),
    ("max_cached_folds", "0", "'0', but must be a whole number of at least 1; using 2 instead."),
    ("max_cached_folds", "²", "'²', but must be a whole number of at least 1; using 2 instead."),
    ("resume", "sed", "'sed', but must be true, false or seed (did you mean 'seed'?); using fal"),
    ("on_error", "skp", "'retry:2,skip' (did you mean 'skip'?); using raise instead."),
    ("candidate_timeout", "0", "'0', but must be a number of seconds above 0, or None; using none"),
    ("candidate_timeout", "60s", "above 0, or None (did you mean '60'?); using none instead."),
]


@pytest.mark.parametrize(("name", "text", "expected"), BAD_TEXTS)
def test_bad_text_warns_once_and_has_no_effect(name, text, expected):
    option = BY_ARGUMENT[name]
    for place in (option.variable, option.keys[0]):
        where = "environ" if place == option.variable else "conf"
        settings, messages = read(**{where: {place: text}})
        assert getattr(settings, option.name) == option.field.default
        (message,) = messages
        assert message.startswith(f"{place} is ")
        assert expected in message
        assert message.count(". ") == 0


def test_bad_conf_value_falls_back_to_variable_and_bad_variable_to_default():
    variable, (key,) = BY_ARGUMENT["flush_timeout"].variable, BY_ARGUMENT["flush_timeout"].keys
    settings, messages = read({key: "x"}, {variable: "7"})
    assert settings.flush_timeout == 7.0
    assert messages == [f"{key} is 'x', but must be {SECONDS}; using 7 instead."]
    settings, messages = read({key: "x"}, {variable: "y"}, flush_timeout=8)
    assert settings.flush_timeout == 8.0
    assert [message.partition(" is ")[0] for message in messages] == [variable, key]
    assert all("using 8 instead." in message for message in messages)
    settings, messages = read({"spark.trackmllib.registeredModelName": " "})
    assert settings.registered_model_name is None
    assert "must be a non-empty string; using none instead." in messages[0]


def test_redact_keeps_its_valid_expressions():
    settings, messages = read(
        {"spark.trackmllib.redact": "Url$ ( [ ,"}, {"TRACKMLLIB_REDACT": "^internal"}
    )
    (message,) = messages
    assert "; '(' is invalid (missing )" in message
    assert "; '[' is invalid (unterminated" in message
    assert message.endswith("; using '^internal Url$ ,' instead.")
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
def test_unknown_name_warns_with_a_suggestion(place, name, meant):
    settings, messages = read(**{place: {name: "false"}})
    assert settings == Settings()
    (message,) = messages
    kind = {"environ": "environment variable", "conf": "Spark conf key"}[place]
    assert message == f"Unknown {kind} {name} has no effect (did you mean {meant}?)."


def test_unknown_name_without_a_suggestion_lists_the_options():
    _, (variable, key) = read({"spark.trackmllib.zzz": "1"}, {"TRACKMLLIB_QQQ": "1"})
    assert "did you mean" not in variable + key
    for option in OPTIONS:
        assert option.variable in variable
        assert option.keys[0] in key


def test_variables_and_keys_of_others_are_ignored():
    conf = {"spark.trackmllibrary.wait": "x", "spark.app.name": "x"}
    names = ("HOME", "AUTOLOG", "PACKAGE", "ROUNDS", "STRICT")
    ours = [f"TRACKMLLIB_{name}" for name in names]
    settings, messages = read(
        conf, {"MLFLOW_X": "x", "TRACKMLLIBX": "x", **dict.fromkeys(ours, "x")}
    )
    assert settings == Settings()
    assert messages == []


def test_strict_is_read_from_the_environment():
    assert Settings.read(environ={"TRACKMLLIB_STRICT": "1"}).strict
    assert not Settings.read(environ={"TRACKMLLIB_STRICT": "0"}).strict
    assert not Settings.read(environ={}).strict


def test_table_in_docs_matches_the_code():
    spec = importlib.util.spec_from_file_location("configuration", ROOT / "tools/configuration.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page == tool.with_table(page), "make docs"
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    assert rows[: len(OPTIONS)] == [f"| `{option.argument}`" for option in OPTIONS]
    without = page.replace(tool.table(), "")
    assert without != page == tool.with_table(without)


def test_messages_in_docs_match_the_code():
    _, messages = read({"spark.trackmllib.wait": "flase"}, {"TRACKMLLIB_FLUSHTIMEOUT": "1"})
    page = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
    assert len(messages) == 2
    for message in messages:
        assert f"\n{message}\n" in page


def test_metric_given_twice_in_a_text_is_used_once():
    settings, (message,) = read({"spark.trackmllib.metrics": "f1 f1 f11"})
    assert settings.metrics == ("f1",)
    assert "'f1' is given twice; using 'f1' instead" in message
    assert "'f11' (did you mean 'f1'?)" in message


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' + "[" * 100_000, '{"a": 1}', "a"])
def test_text_that_is_no_tags_warns(text):
    settings, (message,) = read({"spark.trackmllib.extraTags": text})
    assert settings.extra_tags is None
    assert "but must be tags such as team=search,stage=dev" in message
