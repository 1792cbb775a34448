# One entry point per habit, the same by hand and in CI. Needs Python 3.11 or later, make and git.
# A version manager's shim may be on PATH without its interpreter: each candidate is run, not only looked up.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
SOURCES := collectors streams sinks infra tests

.PHONY: setup demo test quick lint types fmt bench

setup: .venv/.installed .kafka/.checked

.venv/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "footfall needs Python 3.11 or later on PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.kafka/.checked: .venv/.installed infra/kafka/jgo.lock.toml
	$(BIN)/python -m footfall_cli.kafka_jars fetch
	touch $@

demo: setup
	$(BIN)/footfall demo

test: setup lint types
	$(BIN)/pytest $(PYTEST_ARGS)

quick: setup
	$(BIN)/pytest tests/unit

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy $(SOURCES)

fmt: setup
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: setup
	@if ls tests/bench/*.py >/dev/null 2>&1; then $(BIN)/python -m tests.bench; \
	else echo "tests/bench holds no benchmark yet"; fi
