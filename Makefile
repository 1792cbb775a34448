# One entry point per habit, the same by hand and in CI. Needs Python 3.11 or later, make and git.
# A version manager's shim may be on PATH without its interpreter: each candidate is run, not only looked up.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
SOURCES := collectors streams sinks infra tests

.PHONY: setup demo test quick chaos chaos-teeth lint types fmt bench lock

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
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

quick: setup
	$(BIN)/pytest tests/unit

# Real stores, real parts, and 40 faults at random: make chaos SEED=7 FAULTS=40
SEED ?= 1
FAULTS ?= 40
chaos: setup
	$(BIN)/python -m tests.chaos --seed $(SEED) --faults $(FAULTS)

chaos-teeth: setup
	$(BIN)/pytest -m teeth tests/chaos

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy $(SOURCES)

fmt: setup
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# Footfall against what its users would pick instead: make bench BENCH_ARGS="streams --quick"
bench: setup
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

# Every lock file: pinned versions with the sums of all their files, and no registry's address (infra/adr/0004-*.md).
# The resolvers run in a throw-away environment. What is pinned stays while it fits; `make lock UPGRADE=--upgrade`
# renews the Python packages. A stage's lock takes its versions from requirements.lock, and setuptools builds its image.
LOCK_TOOLS := uv==0.13.9 'jgo[cli]==3.2.0'
COMPILE := pip compile --quiet --no-config --no-header --no-annotate --generate-hashes --python-version 3.11

lock:
	@set -eu; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(PYTHON) -m venv "$$tools"; \
	"$$tools/bin/python" -m pip install --quiet --disable-pip-version-check $(LOCK_TOOLS); \
	"$$tools/bin/uv" $(COMPILE) $(UPGRADE) pyproject.toml --extra dev --output-file requirements.lock; \
	for stage in collectors streams sinks; do \
		echo setuptools | "$$tools/bin/uv" $(COMPILE) pyproject.toml - --extra "$$stage" \
			--constraint requirements.lock --output-file "$$stage/requirements.lock"; \
	done; \
	cd infra/kafka; \
	"$$tools/bin/jgo" --ignore-config --quiet --cache-dir "$$tools/jgo" --repo-cache "$$tools/jgo" lock; \
	sed -i.old '/^generated = /d' jgo.lock.toml; rm jgo.lock.toml.old
