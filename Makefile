# Everything a person or a build machine does here. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help quickstart setup check format test test-fast test-e2e test-faults bench bench-training migrate run docs clean

PYTHON ?= python3
BIN := .venv/bin
TEST ?=
# Files of tests run beside each other, each in one process: most of them wait for servers and workers of their own.
WORKERS ?= auto
PARALLEL := -n $(WORKERS) --maxprocesses 4 --dist loadfile
DATA ?=
NAMES ?=
QUICK := $(filter-out tests/e2e tests/faults,$(patsubst %/,%,$(wildcard tests/*/)))

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: ## installs, starts the service, trains a digit classifier on two ranks, checks it, stops the service
	@$(PYTHON) install.py server worker embedded
	@$(BIN)/python -m trainyard.quickstart

setup: ## makes .venv with everything for development; does nothing when it is up to date
	@$(PYTHON) install.py server worker embedded dev

check: setup ## format, lint, types, import law, house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest tests/house

format: setup ## formats the code and mends what the linter can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: setup ## the whole suite, on real servers; TEST="-k word" narrows it, WORKERS=0 runs one test after another
	$(BIN)/pytest $(PARALLEL) $(TEST)

test-fast: setup ## the suite without end-to-end and fault tests
	$(BIN)/pytest $(PARALLEL) $(QUICK) $(TEST)

test-e2e: setup ## jobs from POST to download, on the embedded defaults and on PostgreSQL + Redis
	$(BIN)/pytest $(PARALLEL) tests/e2e $(TEST)

test-faults: setup ## kills, freezes and outages in the middle of training
	$(BIN)/pytest $(PARALLEL) tests/faults $(TEST)

bench: setup ## measures the figures and writes bench/RESULTS.md
	$(BIN)/python -m bench

bench-training: setup ## trains on real data and measures; DATA=folder of the datasets, NAMES="digits wnut17" for some
	@test -n "$(DATA)" || { echo 'make bench-training DATA=DIR: the folder that holds the datasets (fashion-mnist, sst2, wnut17, ...)'; exit 2; }
	$(BIN)/python -m bench.training $(NAMES) --data $(DATA)

migrate: setup ## brings the ledger that TRAINYARD_DATABASE_URL names to the newest schema
	$(BIN)/python -m api migrate

run: setup ## starts the service here with embedded defaults (trainyard up)
	$(BIN)/trainyard up

docs: setup ## writes the generated pages of docs/
	$(BIN)/python -m docs.states

clean: ## removes caches and build output; keeps .venv and the service's state in .trainyard
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
