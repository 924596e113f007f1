"""Texts of operations and events are restored exactly; other texts are rejected."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trackmllib.domain import descriptions, events, operations
from trackmllib.domain.descriptions import (
    Candidate,
    Component,
    Cost,
    Dataset,
    Failure,
    FurtherMetric,
    GridParam,
    MetricAverage,
    ParamValue,
    ParentFit,
    PriorScore,
    SearchDescription,
    SharedStages,
    Value,
)
from trackmllib.domain.events import Event, FitCostMeasured, ScoreReused, SearchStarted
from trackmllib.domain.operations import (
    CloseSearch,
    CreateChildRun,
    Destination,
    EndRun,
    LinkSearch,
    LogArtifact,
    LogBatch,
    LogDataset,
    LogModelMetrics,
    Metric,
    OpenParentRun,
    Operation,
    Recover,
    SetDescription,
    SetPrimaryMetric,
)
from trackmllib.outbox import renames, schema, serialization

FILES = Path(__file__).parents[2] / "data/outboxes"

MODERATE = settings(
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

# Any string of Python's, lone surrogates too, and those that look like our own form.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.sampled_from(["", "$", '{"$":"EndRun"}', "\ud800", "\0", "ü…🦊", "\\ud800", "NaN", "null"]),
)
FLOATS = st.one_of(
    st.floats(),
    st.sampled_from(
        [math.nan, math.inf, -math.inf, -0.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308]
    ),
)
INTS = st.integers() | st.sampled_from([10**400, -(10**100), 2**63, 0])
TIMES = st.integers(-(2**62), 2**62)
JSON = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXTS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["$", "class", "a"]) | TEXTS, inner, max_size=3),
    ),
    max_leaves=6,
)


def tuples(of, **sizes):
    return st.lists(of, max_size=2, **sizes).map(tuple)


PAIRS = tuples(st.tuples(TEXTS, TEXTS))
VALUES = st.builds(Value, text=TEXTS, data=JSON)
SETTINGS = st.builds(ParamValue, name=TEXTS, value=VALUES, is_default=st.booleans())
COMPONENTS = st.recursive(
    st.builds(Component, class_name=TEXTS, module=TEXTS, uid=TEXTS, params=tuples(SETTINGS)),
    lambda inner: st.builds(
        Component,
        class_name=TEXTS,
        module=TEXTS,
        uid=TEXTS,
        params=tuples(SETTINGS),
        stages=tuples(inner),
    ),
    max_leaves=3,
)
CANDIDATES = st.builds(
    Candidate,
    index=st.integers(0, 10**6),
    params=tuples(
        st.builds(
            GridParam,
            name=TEXTS,
            owner=TEXTS,
            owner_class=TEXTS,
            owner_position=st.none() | TEXTS,
            value=VALUES,
        )
    ),
)
SHARED = st.builds(SharedStages, stages=tuples(TEXTS), candidates=tuples(INTS))
DESCRIPTIONS = st.builds(
    SearchDescription,
    tuner=COMPONENTS,
    estimator=st.none() | COMPONENTS,
    evaluator=st.none() | COMPONENTS,
    metric=TEXTS,
    larger_is_better=st.none() | st.booleans(),
    averaged=st.booleans(),
    folds=INTS,
    candidates=tuples(CANDIDATES),
    schema=PAIRS,
    versions=PAIRS,
    application_id=st.none() | TEXTS,
    dataset=st.none() | st.builds(Dataset, digest=TEXTS, path=st.none() | TEXTS),
    spark_ui_url=st.none() | TEXTS,
    spark_history_url=st.none() | TEXTS,
    shared=tuples(SHARED),
    nested_fits=tuples(SHARED),
    further_metrics=tuples(
        st.builds(FurtherMetric, name=TEXTS, larger_is_better=st.none() | st.booleans())
    ),
)
FAILURES = st.builds(Failure, type=TEXTS, message=TEXTS, traceback=TEXTS, interrupted=st.booleans())
PLACES = st.builds(
    ParentFit,
    search_id=TEXTS,
    candidate=st.none() | INTS,
    fold=st.none() | INTS,
    refit=st.booleans(),
)
COSTS = st.builds(Cost, **dict.fromkeys(dataclasses.asdict(Cost()), INTS))
SECONDS = st.none() | FLOATS
AVERAGES = st.none() | tuples(FLOATS)
METRIC_VALUES = tuples(st.tuples(TEXTS, FLOATS))
# Strategies for the fields of events, by name.
FIELDS = {
    "search_id": TEXTS,
    "time_ms": TIMES,
    "description": DESCRIPTIONS,
    "parent": st.none() | PLACES,
    "children": TEXTS,
    "rank_tags": st.booleans(),
    "primary_metric": st.booleans(),
    "extra_tags": PAIRS,
    "model_id": TEXTS,
    "candidate": st.integers(0, 10**6),
    "fold": st.integers(0, 100),
    "thread": st.integers(0, 100),
    "start_ms": TIMES,
    "shares_work": st.booleans(),
    "cost": COSTS,
    "shared": SHARED,
    "family": TEXTS,
    "candidates": tuples(TEXTS),
    "parts": PAIRS,
    "seeds": tuples(st.tuples(TEXTS, INTS)),
    "keys": tuples(TEXTS),
    "tries": st.integers(1, 100),
    "prior": st.builds(
        PriorScore,
        score=FLOATS,
        fit_seconds=FLOATS,
        evaluate_seconds=FLOATS,
        start_ms=TIMES,
        end_ms=TIMES,
        search_id=TEXTS,
        run_id=st.none() | TEXTS,
        metrics=METRIC_VALUES,
    ),
    "seconds": FLOATS,
    "score": FLOATS,
    "fit_seconds": FLOATS,
    "evaluate_seconds": FLOATS,
    "dtype": st.none() | TEXTS,
    "counts_as": st.none() | FLOATS,
    "derived_from": st.none() | st.integers(0, 100),
    "metrics": METRIC_VALUES,
    "metrics_seconds": SECONDS,
    "metric_fingerprints": PAIRS,
    "metric_averages": tuples(
        st.tuples(TEXTS, st.builds(MetricAverage, average=FLOATS, deviation=SECONDS))
    ),
    "failure": FAILURES,
    "average": FLOATS,
    "deviation": SECONDS,
    "refit_seconds": SECONDS,
    "averages": AVERAGES,
    "deviations": AVERAGES,
    "best": st.none() | st.integers(0, 10**6),
}
FILE_NAMES = st.sampled_from(["results.csv", "a b", "…", ".hidden", "a\\b", "\ud800", "c:x"])
METRICS = st.builds(Metric, TEXTS, FLOATS, TIMES, INTS, st.booleans())
OF_RUN = {"search_id": TEXTS, "candidate": st.none() | st.integers(0, 10**6)}
DESTINATIONS = st.builds(
    Destination,
    tracking_uri=TEXTS,
    run_id=st.none() | TEXTS,
    experiment_id=st.none() | TEXTS,
    experiment_name=st.none() | TEXTS,
    owned=st.booleans(),
    parent_search_id=st.none() | TEXTS,
    parent_candidate=st.none() | INTS,
)
OPERATIONS = {
    OpenParentRun: st.builds(
        OpenParentRun,
        **OF_RUN,
        destination=DESTINATIONS,
        name=TEXTS,
        start_ms=TIMES,
        description=TEXTS,
    ),
    CreateChildRun: st.builds(CreateChildRun, **OF_RUN, name=TEXTS, start_ms=TIMES, tags=PAIRS),
    LogBatch: st.builds(LogBatch, **OF_RUN, params=PAIRS, metrics=tuples(METRICS), tags=PAIRS),
    LogArtifact: st.builds(
        LogArtifact,
        **OF_RUN,
        file_name=FILE_NAMES,
        text=TEXTS,
        is_base64=st.booleans(),
        is_compressed=st.booleans(),
        in_folder=st.booleans(),
    ),
    SetDescription: st.builds(
        SetDescription,
        **OF_RUN,
        text=TEXTS,
        is_last=st.booleans(),
        best=st.none() | st.integers(0, 10**6),
    ),
    LogModelMetrics: st.builds(
        LogModelMetrics,
        **OF_RUN,
        model_id=TEXTS,
        metrics=tuples(METRICS),
        dataset=tuples(TEXTS),
    ),
    SetPrimaryMetric: st.builds(
        SetPrimaryMetric, **OF_RUN, key=TEXTS, larger_is_better=st.none() | st.booleans()
    ),
    LogDataset: st.builds(
        LogDataset,
        **OF_RUN,
        digest=TEXTS,
        path=st.none() | TEXTS,
        schema=PAIRS,
        context=st.sampled_from(["train", "eval"]),
    ),
    EndRun: st.builds(
        EndRun,
        **OF_RUN,
        status=st.sampled_from(["FINISHED", "FAILED", "KILLED"]),
        end_ms=TIMES,
        if_running=st.booleans(),
        tags=PAIRS,
    ),
    CloseSearch: st.builds(CloseSearch, **OF_RUN),
    LinkSearch: st.builds(LinkSearch, **OF_RUN, prior_search_id=TEXTS),
    Recover: st.builds(Recover, **OF_RUN),
}


def subclasses_in(module, base) -> list[type]:
    return [
        cls
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base
    ]


EVENTS = {
    cls: st.builds(cls, **{field.name: FIELDS[field.name] for field in dataclasses.fields(cls)})
    for cls in subclasses_in(events, Event)
}


def bits(item):
    """Everything in an item with its type, a float as its bytes; data of the user's as JSON."""
    if isinstance(item, Value):
        return ("Value", bits(item.text), json.dumps(item.data))
    if dataclasses.is_dataclass(item):
        fields = [
            (field.name, bits(getattr(item, field.name))) for field in dataclasses.fields(item)
        ]
        return (type(item).__name__, fields)
    if isinstance(item, tuple):
        return (type(item).__name__, [bits(inner) for inner in item])
    if isinstance(item, float):
        # One NaN is as good as another: JSON has no room for its payload.
        return ("float", "nan" if math.isnan(item) else struct.pack(">d", item))
    return (type(item).__name__, item)


def test_every_class_has_a_test():
    assert set(OPERATIONS) == set(subclasses_in(operations, Operation))
    assert len(EVENTS) == 17


@MODERATE
@given(st.one_of(*OPERATIONS.values()))
@example(LogBatch(search_id="s", metrics=(Metric("m", math.nan, 1, 10**400, True),)))
@example(LogBatch(search_id="s"))
def test_operation_survives_to_the_last_bit(operation):
    text = serialization.to_text(operation)
    back = serialization.from_text(text, Operation)
    assert bits(back) == bits(operation)
    assert serialization.to_text(back) == text
    text.encode()  # A column of SQLite takes no lone surrogate.


@settings(MODERATE, max_examples=120)
@given(st.one_of(*EVENTS.values()))
def test_event_survives_to_the_last_bit(event):
    text = serialization.to_text(event)
    back = serialization.from_text(text, Event)
    assert bits(back) == bits(event)
    assert serialization.to_text(back) == text
    text.encode()


@settings(MODERATE, max_examples=60)
@given(EVENTS[SearchStarted])
def test_description_survives_to_the_last_bit(event):
    back = serialization.from_text(serialization.to_text(event), Event)
    assert bits(back.description) == bits(event.description)
    assert back.description.tuner.label == event.description.tuner.label
    assert back.description.tuner.text == event.description.tuner.text


@MODERATE
@given(DESTINATIONS)
def test_destination_survives(destination):
    assert serialization.from_text(serialization.to_text(destination), Destination) == destination


@MODERATE
@given(JSON)
@example({"$": "EndRun", "search_id": "s"})
@example([{"$": "os.system"}, {"$": {"$": None}}])
def test_user_data_is_never_taken_for_a_class(data):
    setting = ParamValue(name="p", value=Value(text="", data=data), is_default=False)
    component = Component(class_name="c", module="m", uid="u", params=(setting,))
    event = next(iter(_started(component)))
    parsed = serialization.from_text(serialization.to_text(event), Event)
    back = parsed.description.tuner.params[0].value.data
    assert json.dumps(back) == json.dumps(data)
    assert "trackmllib" not in type(back).__module__


def _started(tuner):
    yield SearchStarted(
        search_id="s",
        time_ms=1,
        description=SearchDescription(
            tuner=tuner,
            estimator=None,
            evaluator=None,
            metric="m",
            larger_is_better=None,
            averaged=True,
            folds=2,
            candidates=(),
            schema=(),
            versions=(),
            application_id=None,
        ),
    )


def fields_of(item) -> set[str]:
    """The fields in a JSON text, each with its class, by their present names."""
    if isinstance(item, list):
        return {name for inner in item for name in fields_of(inner)}
    if not isinstance(item, dict):
        return set()
    cls = renames.CLASSES.get(item["$"], item["$"])
    fields = renames.FIELDS.get(cls, {})
    own = {f"{cls}.{fields.get(name, name)}" for name in item}
    return own.union(*(fields_of(inner) for inner in item.values()))


@pytest.mark.parametrize("path", sorted(FILES.glob("version-*.db")), ids=lambda path: path.stem)
def test_new_fields_are_left_out_unless_they_are_used(path):
    """So an older trackmllib of the same schema version reads what it could have written."""
    connection = schema.open_read_only(path)
    tables = {"events": Event, "operations": Operation}
    texts = [
        (kind, text)
        for table, kind in tables.items()
        for (text,) in connection.execute(f"SELECT body FROM {table}")
    ]
    connection.close()
    assert len(texts) > 20
    for kind, text in texts:
        now = fields_of(json.loads(serialization.to_text(serialization.from_text(text, kind))))
        assert now <= fields_of(json.loads(text))


def test_old_names_are_given_to_nothing_else():
    present = {
        cls.__name__: {field.name for field in dataclasses.fields(cls)}
        for module in (descriptions, events, operations)
        for cls in vars(module).values()
        if dataclasses.is_dataclass(cls)
    }
    assert not set(renames.CLASSES) & set(present)
    assert set(renames.CLASSES.values()) <= set(present)
    for cls, fields in renames.FIELDS.items():
        assert not set(fields) & present[cls]
        assert set(fields.values()) <= present[cls]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            '{"$":"CellTakenUp","search_id":"s","time_ms":1,"candidate":2,"fold":3,"earlier":'
            '{"$":"Earlier","score":0.5,"fit_seconds":1.0,"evaluate_seconds":2.0,"start_ms":4,'
            '"end_ms":5,"search_id":"t"}}',
            ScoreReused(
                search_id="s",
                time_ms=1,
                candidate=2,
                fold=3,
                prior=PriorScore(
                    score=0.5,
                    fit_seconds=1.0,
                    evaluate_seconds=2.0,
                    start_ms=4,
                    end_ms=5,
                    search_id="t",
                ),
            ),
        ),
        (
            '{"$":"CellCosted","search_id":"s","time_ms":1,"candidate":2,"fold":3,"cost":'
            '{"$":"Cost","num_jobs":4}}',
            FitCostMeasured(search_id="s", time_ms=1, candidate=2, fold=3, cost=Cost(num_jobs=4)),
        ),
        ('{"$":"TakeOver","search_id":"s"}', Recover(search_id="s")),
        (
            '{"$":"LinkSearch","search_id":"s","earlier":"t"}',
            LinkSearch(search_id="s", prior_search_id="t"),
        ),
        (
            '{"$":"LogArtifact","search_id":"s","file_name":"f","text":"x","is_packed":true}',
            LogArtifact(search_id="s", file_name="f", text="x", is_compressed=True),
        ),
    ],
)
def test_old_names_are_read(old, new):
    kind = Event if isinstance(new, Event) else Operation
    assert serialization.from_text(old, kind) == new
    assert serialization.from_text(serialization.to_text(new), kind) == new


def test_field_is_left_out_if_value_and_type_are_the_default():
    def written(**fields) -> set[str]:
        return set(json.loads(serialization.to_text(Cost(**fields)))) - {"$"}

    assert written() == written(num_jobs=0) == set()
    assert written(num_jobs=1) == {"num_jobs"}
    assert written(num_jobs=False, input_bytes=0.0) == {"num_jobs", "input_bytes"}
    old = {"$": "Cost", **dict.fromkeys(dataclasses.asdict(Cost()), 0), "num_jobs": 2}
    text = serialization.to_text(events.SearchCostMeasured(search_id="s", time_ms=1, cost=Cost()))
    whole = json.dumps({**json.loads(text), "cost": old})
    assert serialization.from_text(whole, Event).cost == Cost(num_jobs=2)


def text_of(cls="EndRun", **fields) -> str:
    return json.dumps({"$": cls, **fields})


GOOD = serialization.to_text(EndRun(search_id="s", status="FINISHED", end_ms=1))


def test_cut_text_is_not_readable():
    assert serialization.from_text(GOOD, Operation).status == "FINISHED"
    for length in range(len(GOOD)):
        with pytest.raises(ValueError, match="not readable"):
            serialization.from_text(GOOD[:length], Operation)


FILE = {"search_id": "s", "candidate": None, "text": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "null",
        "[]",
        "{}",
        "12",
        '"EndRun"',
        "\ud800",
        "[" * 100_000,
        '{"$":' * 100_000,
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        '{"$":"os.system"}',
        '{"$":"os.system","command":"true"}',
        '{"$":"Path"}',
        '{"$":"Operation"}',
        '{"$":null}',
        '{"$":1}',
        '{"$":[]}',
        '{"$":{}}',
        '{"$":["EndRun"]}',
        '{"$":{"$":"CloseSearch","search_id":"s"}}',
        GOOD + GOOD,
        text_of("EndRun"),
        text_of("EndRun", search_id="s", status="FINISHED", end_ms=1, more=1),
        text_of("EndRun", search_id="s", status="FINISHED", end_ms=1, __class__="x"),
        text_of("LogBatch", search_id="s", metrics=[["a"]]),
        text_of("LogBatch", search_id="s", metrics=1),
        text_of("LogBatch", search_id="s", metrics=[1]),
        text_of("LogArtifact", **FILE),
        text_of("LogArtifact", **FILE, file_name="../x"),
        text_of("LogArtifact", **FILE, file_name="/etc/x"),
        text_of("LogArtifact", **FILE, file_name="a/b"),
        text_of("LogArtifact", **FILE, file_name=".."),
        text_of("LogArtifact", **FILE, file_name="."),
        text_of("LogArtifact", **FILE, file_name=""),
        text_of("LogArtifact", **FILE, file_name="a/"),
        text_of("LogArtifact", **FILE, file_name=1),
        text_of("LogArtifact", **FILE, file_name=None),
        text_of("Value", text="x"),
        text_of("Value", text="x", data="nonsense"),
        text_of("Value", text="x", data=1),
        text_of("Value", text="x", data="[" * 100_000),
    ],
    ids=lambda text: text[:60] or "empty",
)
def test_other_text_raises_value_error(text):
    for kind in (Operation, Event, Destination):
        with pytest.raises(ValueError, match="not readable"):
            serialization.from_text(text, kind)


def test_classes_are_not_confused():
    event = serialization.to_text(events.RefitStarted(search_id="s", time_ms=1, best=0))
    destination = serialization.to_text(Destination(tracking_uri="u"))
    for kind, text in [
        (Operation, event),
        (Operation, destination),
        (Event, GOOD),
        (Event, destination),
        (Destination, GOOD),
        (Destination, event),
    ]:
        with pytest.raises(ValueError, match="not readable"):
            serialization.from_text(text, kind)


@settings(MODERATE, max_examples=200)
@given(st.text(max_size=40) | JSON.map(json.dumps))
def test_any_text_raises_value_error(text):
    for kind in (Operation, Event, Destination):
        with pytest.raises(ValueError, match="not readable"):
            serialization.from_text(text, kind)


@settings(MODERATE, max_examples=200)
@given(st.data())
def test_changed_text_is_read_or_raises_value_error(data):
    text = serialization.to_text(data.draw(st.one_of(*OPERATIONS.values())))
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.characters()) + text[place + 1 :]
    try:
        found = serialization.from_text(changed, Operation)
    except ValueError:
        with pytest.raises(ValueError, match="not readable"):
            serialization.from_text(changed, Operation)
    else:
        assert isinstance(found, Operation)


@pytest.mark.parametrize("item", [object(), Path("x"), {1}, b"bytes", 1j])
def test_other_objects_raise_type_error(item):
    with pytest.raises(TypeError):
        serialization.to_text(LogBatch(search_id="s", params=((item, "x"),)))


def test_other_class_of_same_name_raises_type_error():
    @dataclasses.dataclass
    class EndRun:
        search_id: str = "s"

    with pytest.raises(TypeError, match="not plain data"):
        serialization.to_text(EndRun())


def test_outbox_uses_no_pickle():
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    folder = Path(serialization.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = {
                *(name.name for name in getattr(node, "names", []) if isinstance(node, ast.Import)),
                getattr(node, "module", None) or "",
            }
            assert not forbidden & {name.split(".")[0] for name in imported}, path
            called = node.func if isinstance(node, ast.Call) else None
            assert getattr(called, "id", "") not in {"eval", "exec", "__import__"}, path
