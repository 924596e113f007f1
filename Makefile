# Each target sets up what it needs: Java, and a virtual environment in .venv.
#
#   make demo         run the notebooks in examples/ and print what they recorded
#   make ui           open the MLflow UI on the demo's runs
#   make test         run the fast tests, on real Spark too; select with make test ARGS="-k folds"
#   make test-all     run all tests: timed, untimed, on PostgreSQL with S3, on files; then notebooks
#   make test-timed   run the tests that measure time; nothing else may run
#   make test-oldest  run version-dependent tests with the oldest packages (Python 3.10 or 3.11)
#   make matrix       run some tests with each pyspark and MLflow, for docs/reference/compatibility.md
#   make soak         run fault tests and random searches (20 rounds) and nested fits (100 rounds)
#   make bench        measure costs, for docs/explanation/benchmarks.md: 45 minutes, nothing else may run
#   make bench-smoke  run the benchmarks once and small, without checking bounds
#   make bench-resume measure resume, for docs/how-to/resume.md: 5 minutes, nothing else may run
#   make bench-metrics measure further metrics, for docs/how-to/several-metrics.md: 5 minutes
#   make fleet        run 50 drivers on a server, for docs/explanation/scale.md: 8 minutes, nothing else may run
#   make lint         run ruff, mypy, import-linter, shellcheck, reuse, and the schemas of workflows
#   make docs         update the table in docs/reference/configuration.md from the code
#   make docs-site    build the docs as a site in docs/_build/html; every broken link is an error
#   make notebooks    execute the notebooks in examples/ that are out of date, and store their output
#   make package      build and check dist/, and run README's example in an empty environment
#   make sbom         list what an installation of dist/*.whl contains, in dist/*.cdx.json
#   make screenshots  take the screenshots in docs/images of the demo's runs
#   make lock         update requirements/*.lock
#   make clean        remove everything that make created

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
# Tools that need nothing of the development environment.
TOOLS = $(VENV)-tools
ARGS =
# Which tests test-untimed, test-oldest, … run; .ci/run leaves out most slow ones.
SELECT = not timed
# Number of parallel test processes, each with its own JVM and MLflow server.
WORKERS = 2
PYTEST = $(BIN)/python -m pytest
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.NOTPARALLEL:
.PHONY: help venv java demo ui test test-all test-untimed test-postgres test-file-store test-timed test-oldest matrix soak bench bench-smoke bench-resume bench-metrics fleet lint docs docs-site notebooks package sbom screenshots lock clean

help:
	@sed -n 's/^#   //p' Makefile

venv: $(VENV)/.done

$(VENV)/.done: requirements/dev.lock pyproject.toml
	@sh tools/venv.sh $(PYTHON) $(VENV) requirements/dev.lock

$(VENV)-oldest/.done: requirements/oldest.lock pyproject.toml
	@sh tools/venv.sh $(PYTHON) $(VENV)-oldest requirements/oldest.lock

$(VENV)-client/.done: requirements/client.lock pyproject.toml
	@sh tools/venv.sh $(PYTHON) $(VENV)-client requirements/client.lock

$(TOOLS)/.done: requirements/tools.lock pyproject.toml
	@sh tools/venv.sh $(PYTHON) $(TOOLS) requirements/tools.lock

java:
	@sh tools/java.sh

demo: java venv
	@$(BIN)/python tools/demo.py

ui: venv
	@$(BIN)/python tools/ui.py

test: java venv
	@$(PYTEST) $(PARALLEL) $(ARGS)

test-all: test-timed test-untimed test-postgres test-file-store notebooks

test-untimed: java venv $(VENV)-client/.done
	@CLIENT_VENV=$(abspath $(VENV)-client) $(PYTEST) $(PARALLEL) -m "$(SELECT)" $(ARGS)

test-timed: java venv
	@$(PYTEST) -m timed $(ARGS)

# To run all tests on another store: make test-untimed ARGS="--store=s3".
test-postgres: java venv
	@$(PYTEST) --store=postgres -m "postgres and $(SELECT)" $(ARGS)

# Two threads cannot resume one run on MLflow's file store.
test-file-store: java venv
	@$(PYTEST) --store=file -m "file_store and $(SELECT)" -k "not threads_in_one_run" $(ARGS)

# The oldest packages include no Jupyter, no browser and no S3.
OLDEST = tests/unit tests/spark tests/faults --ignore tests/faults/test_killed_notebook.py \
	--deselect tests/unit/reporting/test_progress.py::test_notebook_with_widgets_writes_nothing

test-oldest: java $(VENV)-oldest/.done
	@$(VENV)-oldest/bin/python -m pytest $(OLDEST) -m "versions and $(SELECT)" $(ARGS)

matrix: java venv
	@rm -rf .matrix
	@$(BIN)/nox $(ARGS); status=$$?; $(BIN)/python tools/compatibility.py && exit $$status

# What draws at random more often with more rounds.
RANDOM = tests/faults tests/integration/test_connect_middleware.py

soak: java venv
	@TRACKMLLIB_ROUNDS=20 $(PYTEST) $(RANDOM) -m "not timed" -o timeout=1800 $(ARGS)
	@TRACKMLLIB_ROUNDS=100 TRACKMLLIB_HUNT_SECONDS=1200 $(PYTEST) tests/spark/test_nested_rules.py \
		-m "not timed" $(ARGS)

bench: java venv
	@$(BIN)/python -m benchmarks $(ARGS)

bench-smoke: java venv
	@$(BIN)/python -m benchmarks --smoke $(ARGS)

bench-resume: java venv
	@$(BIN)/python -m benchmarks.resume_cost $(ARGS)

bench-metrics: java venv
	@$(BIN)/python -m benchmarks.metrics_cost $(ARGS)

fleet: java venv
	@$(BIN)/python -m benchmarks.fleet --rate 20 $(ARGS)

SCHEMA = $(TOOLS)/bin/check-jsonschema --builtin-schema

lint: venv $(TOOLS)/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	$(BIN)/lint-imports
	$(BIN)/python tools/notebooks.py --check-cells
	$(TOOLS)/bin/shellcheck .ci/run tools/*.sh deploy/*/*.sh
	$(TOOLS)/bin/reuse lint -q
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.github-issue-forms .github/ISSUE_TEMPLATE/*_re*.yml
	$(SCHEMA) vendor.citation-file-format --force-filetype yaml CITATION.cff

docs: venv
	@$(BIN)/python tools/configuration.py

docs-site: $(TOOLS)/.done
	@$(TOOLS)/bin/sphinx-build -E -W --keep-going -q docs docs/_build/html

notebooks: java venv
	@$(BIN)/python tools/notebooks.py $(ARGS)

package: java $(TOOLS)/.done
	@rm -rf dist
	@$(TOOLS)/bin/python -m build --no-isolation
	@$(TOOLS)/bin/twine check --strict dist/*
	@$(TOOLS)/bin/python tools/check_package.py

sbom: $(TOOLS)/.done
	@sh tools/sbom.sh $(TOOLS)

screenshots: venv
	@$(BIN)/python tools/screenshots.py

lock:
	@sh tools/lock.sh $(PYTHON)

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-client $(TOOLS) .demo .nox .matrix .bench dist docs/_build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
