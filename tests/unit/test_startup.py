"""What the start of a process sets up: recording is on once Spark's tuners are imported."""

from __future__ import annotations

import sys
import textwrap
import venv

import pytest

from commands import environ, finished
from trackmllib.cli.run import STARTUP_FOLDER
from trackmllib.startup import BadSwitch, is_on

LIGHT = """
import sys
assert "trackmllib.startup" in sys.modules
assert not {"pyspark", "mlflow", "numpy", "sqlite3"} & set(sys.modules)
"""

LOOK = """
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from trackmllib.patching import is_patched
on = is_patched(CrossValidator.fit), is_patched(TrainValidationSplit.fit)
"""


def run(code: str, *folders, **variables):
    """The process of a program under the hook; what it and the hook have said."""
    variables = {"TRACKMLLIB_AUTOLOG": "1", **variables}
    return finished(
        [sys.executable, "-c", textwrap.dedent(code)],
        environ(STARTUP_FOLDER, *folders, **variables),
    )


def check(code: str, *folders, **variables) -> None:
    """The program ends well, and not a word of ours is said."""
    done = run(code, *folders, **variables)
    assert done.returncode == 0, done.stderr
    assert "trackmllib" not in done.stderr.lower()


@pytest.fixture
def stubs(tmp_path):
    """A pyspark of no functions, to see what its import sets off; as a function of its version."""

    def write(version: str, worker: str = "", mlflow: str = ""):
        for name, text in {
            "pyspark/__init__.py": f"__version__ = {version!r}",
            "pyspark/ml/__init__.py": "",
            "pyspark/ml/tuning.py": "value = 1",
            "pyspark/worker.py": worker,
            "mlflow/__init__.py": mlflow,
        }.items():
            file = tmp_path / "stubs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return tmp_path / "stubs"

    return write


@pytest.mark.heavy
@pytest.mark.parametrize(
    "first",
    [
        "from pyspark.ml import Pipeline",
        "import pyspark.ml.tuning",
        "from pyspark.ml.connect.tuning import CrossValidator",
        "from trackmllib import testing\nwith testing.recording(): pass",
    ],
)
def test_recording_is_on_after_the_tuners_are_imported_in_any_order(first):
    check(f"{LIGHT}\n{first}\n{LOOK}\nassert on == (True, True)")


@pytest.mark.heavy
@pytest.mark.parametrize(
    "program",
    [
        f"import trackmllib; trackmllib.autolog(disable=True)\n{LOOK}\nassert on == (False, False)",
        f"""
import trackmllib; trackmllib.autolog(flush_timeout=7.0)
{LOOK}
from importlib import import_module
assert on == (True, True)
assert import_module("trackmllib.autolog")._session.settings.flush_timeout == 7.0
""",
        f"""
{LOOK}
import trackmllib; trackmllib.autolog(flush_timeout=7.0)
from importlib import import_module
assert on == (True, True)
assert import_module("trackmllib.autolog")._session.settings.flush_timeout == 7.0
trackmllib.autolog(disable=True)
import pyspark.ml.connect.tuning
assert not is_patched(CrossValidator.fit)
""",
    ],
    ids=["off before", "on before", "on after, and off"],
)
def test_what_the_program_itself_says_to_autolog_holds(program):
    check(program)


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_values_that_switch_it_on(value):
    assert is_on(value)


@pytest.mark.parametrize("value", ["", "0", "False", "no", "OFF"])
def test_values_that_leave_it_off(value):
    assert not is_on(value)


def test_another_value_is_refused_by_one_sentence_and_leaves_it_off(stubs):
    with pytest.raises(BadSwitch, match=r"'perhaps'.*1, true, yes, on.*0, false, no, off or empty"):
        is_on("perhaps")
    done = run("import pyspark.ml.tuning", stubs("3.4.1"), TRACKMLLIB_AUTOLOG="perhaps")
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("TRACKMLLIB_AUTOLOG is 'perhaps', but must be 1, true, yes, on ")


def test_a_program_that_switches_it_off_in_its_environment_is_left_alone(stubs):
    code = "import os; os.environ['TRACKMLLIB_AUTOLOG'] = 'off'; import pyspark.ml.tuning"
    check(code, stubs("3.4.1"))


def test_without_the_variable_trackmllib_is_not_even_imported():
    code = "import sys; assert not any(name.startswith('trackmllib') for name in sys.modules)"
    check(code, TRACKMLLIB_AUTOLOG="")


def test_what_is_too_old_is_one_warning_and_the_import_succeeds(stubs):
    done = run("import pyspark.ml.tuning as t; print(t.value)", stubs("3.4.1"))
    assert (done.returncode, done.stdout) == (0, "1\n")
    (line,) = done.stderr.splitlines()
    assert "TRACKMLLIB_AUTOLOG asks for it" in line
    assert "3.4.1 is installed" in line
    assert 'pip install "pyspark>=3.5"' in line


def test_any_other_error_is_one_warning_too(stubs):
    done = run("import pyspark.ml.tuning", stubs("4.0.0", mlflow="raise RuntimeError('broken')"))
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "RuntimeError: broken" in line


def test_in_workers_of_spark_nothing_is_imported(stubs):
    worker = """
    import sys
    import pyspark.ml.tuning
    print([name for name in sys.modules if name.partition(".")[0] in ("trackmllib", "mlflow")])
    """
    env = environ(STARTUP_FOLDER, stubs("3.4.1", worker), TRACKMLLIB_AUTOLOG="1")
    done = finished([sys.executable, "-m", "pyspark.worker"], env)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    # -u hides it from the look that Python's start takes, and another module from both.
    done = finished([sys.executable, "-u", "-m", "pyspark.worker"], env)
    assert (done.returncode, done.stderr) == (0, "")
    check("import pyspark.ml.tuning", stubs("3.4.1"), PYTHON_WORKER_FACTORY_SECRET="s")


def test_a_call_in_another_thread_is_not_waited_for(stubs):
    """It may wait for the very import that we are called in."""
    folder = stubs(
        "4.0.0",
        mlflow="""
        import __main__
        __main__.inside.set()
        import pyspark.ml.tuning
        """,
    )
    (folder / "pyspark/ml/tuning.py").write_text(
        "import __main__\n__main__.begun.set()\nassert __main__.inside.wait(60)\n"
    )
    code = """
    import threading
    import trackmllib
    begun, inside = threading.Event(), threading.Event()

    def other():
        begun.wait(60)
        try:
            trackmllib.autolog()
        except ImportError as error:  # these stubs hold nothing that a session needs
            print("ended")

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    import pyspark.ml.tuning
    thread.join(60)
    """
    done = run(code, folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_the_sitecustomize_of_the_user_runs_once_and_is_the_one_that_is_imported(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('of the user'); value = 7\n")
    code = """
    import sys, sitecustomize
    assert sitecustomize.value == 7
    assert not [entry for entry in sys.path if "trackmllib/pythonpath" in entry]
    assert "trackmllib.startup" in sys.modules
    """
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "of the user\n", "")


@pytest.mark.parametrize(
    "text", ["raise ValueError('of the user')", "import no_such_module_of_theirs", "1 +"]
)
def test_an_error_in_it_is_said_as_without_us(tmp_path, text):
    (tmp_path / "sitecustomize.py").write_text(text + "\n")
    command = [sys.executable, "-c", "import sys; print('sitecustomize' in sys.modules)"]
    without = finished(command, environ(tmp_path))
    done = finished(command, environ(STARTUP_FOLDER, tmp_path, TRACKMLLIB_AUTOLOG="1"))
    assert "Error" in without.stderr
    assert (done.returncode, done.stdout, done.stderr) == (0, without.stdout, without.stderr)


def test_where_trackmllib_is_not_installed_nothing_happens(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    code = "import sys; print([name for name in sys.modules if 'trackmllib' in name])"
    env = {**environ(TRACKMLLIB_AUTOLOG="1"), "PYTHONPATH": STARTUP_FOLDER}
    done = finished([str(tmp_path / "bare/bin/python"), "-c", code], env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
