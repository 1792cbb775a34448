# One entry point per habit, the same by hand and in CI. Needs Python 3.11 or later, make and git.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SOURCES := collectors streams sinks infra tests

.PHONY: setup demo test quick lint types fmt bench

setup: .venv/.installed .kafka/.checked

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.kafka/.checked: .venv/.installed infra/kafka/jgo.lock.toml
	$(BIN)/python -m footfall_cli.kafka_jars
	touch $@

demo: setup
	$(BIN)/footfall demo

test: setup lint types
	$(BIN)/pytest

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
	$(BIN)/python -m tests.bench
