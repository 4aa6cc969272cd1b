# Each target is one visible line; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

dev: .venv/dev  ## make .venv with mk and all tools

.venv/dev: pyproject.toml
	$(PYTHON) -m venv .venv && $(BIN)/pip install -q -e '.[dev]' && touch $@

test: dev  ## run the tests
	$(BIN)/pytest -q -n 4

slow: dev  ## run all tests, also those that take minutes
	$(BIN)/pytest -q -n 4 -m ""

prove: dev  ## run the whole proof, for hours, and write its figures to tests/proof/results
	$(BIN)/pip install -q -e '.[fuzz]' && $(BIN)/python -m tests.proof

sample: dev  ## run some minutes of the proof, beside what the tests have of it
	$(BIN)/pip install -q -e '.[fuzz]' && $(BIN)/python -m tests.proof --sample --results $$(mktemp -d)/sample.json

lint: dev  ## check form
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: dev  ## check types
	$(BIN)/mypy

docs: dev  ## write the generated man pages and completions
	$(BIN)/python -m mk.cli.manual man && $(BIN)/python -m mk.cli.completions completions

bench: dev  ## measure beside the limits of the machine and the neighbours that are there, 20 minutes
	$(BIN)/python benchmarks/run.py

dist: dev  ## build the wheel and the sdist into an empty dist/
	rm -rf dist && $(BIN)/python -m hatchling build

check: lint type test sample  ## all that CI runs

.PHONY: help dev test slow prove sample lint type docs bench dist check
