# Everything here sets up what it needs by itself: Java, and a virtual environment in .venv.
#
#   make demo         run the notebooks of examples/, and print what they recorded
#   make ui           open MLflow's page on the demo's runs
#   make test         run the tests; make test ARGS="-k folds" runs some
#   make test-all     make test, test-heavy (what takes longer), test-stores (others), test-timed
#   make test-timed   the tests that measure time, for which nothing else may run meanwhile
#   make test-oldest  the same with the oldest versions of pyspark and mlflow (Python 3.10 or 3.11)
#   make matrix       some of them with each pair of pyspark and MLflow, for docs/compatibility.md
#   make soak         the fault tests, with twenty rounds of the random ones
#   make bench        what tracking costs, for docs/benchmarks.md: 20 minutes, nothing else may run
#   make bench-smoke  the same once and small, without a verdict
#   make bench-resume what resume costs, for docs/how-to/resume.md: 5 minutes, nothing else may run
#   make fleet        fifty drivers at one server, for docs/scale.md: 8 minutes, nothing else may run
#   make lint         ruff, mypy and import-linter
#   make docs         make the table in docs/configuration.md from the code
#   make screenshots  make the pictures in docs/images from the demo's runs
#   make lock         bring requirements/*.lock up to date
#   make clean        remove all that was made

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
ARGS =
# What make test-all runs on other stores too; any test can: make test ARGS="--store=s3".
ON_FILES = $(addprefix tests/spark/,test_child_runs.py test_several_searches.py test_values.py)
ON_POSTGRES = $(ON_FILES) $(addprefix tests/spark/,test_main_run.py test_nested.py)

.PHONY: help venv java demo ui test test-all test-heavy test-stores test-timed test-oldest matrix soak bench bench-smoke bench-resume fleet lint docs screenshots lock clean

help:
	@sed -n 's/^#   //p' Makefile

venv: $(VENV)/.done

$(VENV)/.done: requirements/dev.lock pyproject.toml
	@sh tools/venv.sh $(PYTHON) $(VENV) requirements/dev.lock

$(VENV)-oldest/.done: requirements/oldest.lock pyproject.toml
	@sh tools/venv.sh $(PYTHON) $(VENV)-oldest requirements/oldest.lock

$(VENV)-client/.done: requirements/client.lock pyproject.toml
	@sh tools/venv.sh $(PYTHON) $(VENV)-client requirements/client.lock

java:
	@sh tools/java.sh

demo: java venv
	@$(BIN)/python tools/demo.py

ui: venv
	@$(BIN)/python tools/ui.py

test: java venv
	@$(BIN)/python -m pytest $(ARGS)

test-all: test-timed test test-heavy test-stores

test-heavy: java venv $(VENV)-client/.done
	@CLIENT_VENV=$(abspath $(VENV)-client) $(BIN)/python -m pytest -m heavy $(ARGS)

test-timed: java venv
	@$(BIN)/python -m pytest -m timed $(ARGS)

# MLflow's file store does not bear threads of users that take up one run at the same time.
test-stores: java venv
	@$(BIN)/python -m pytest --store=postgres $(ON_POSTGRES)
	@$(BIN)/python -m pytest --store=file $(ON_FILES) -k "not threads_in_one_run"

# Their lock file has no Jupyter and no browser.
NEWEST_ONLY = --ignore tests/faults/test_notebook.py --ignore tests/pages \
	--deselect tests/unit/test_progress.py::test_in_a_notebook_with_widgets_nothing_is_written

test-oldest: java $(VENV)-oldest/.done
	@$(VENV)-oldest/bin/python -m pytest $(NEWEST_ONLY) $(ARGS)

matrix: java venv
	@rm -rf .matrix
	@$(BIN)/nox $(ARGS); status=$$?; $(BIN)/python tools/compatibility.py && exit $$status

soak: java venv
	@TRACKMLLIB_ROUNDS=20 $(BIN)/python -m pytest tests/faults -o timeout=1800 $(ARGS)

bench: java venv
	@$(BIN)/python -m benchmarks $(ARGS)

bench-smoke: java venv
	@$(BIN)/python -m benchmarks --smoke $(ARGS)

bench-resume: java venv
	@$(BIN)/python -m benchmarks.resuming $(ARGS)

fleet: java venv
	@$(BIN)/python -m benchmarks.fleet --rate 20 $(ARGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	$(BIN)/lint-imports

docs: venv
	@$(BIN)/python tools/configuration.py

screenshots: venv
	@$(BIN)/python tools/screenshots.py

lock:
	@sh tools/lock.sh $(PYTHON)

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-client .demo .nox .matrix .bench
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
