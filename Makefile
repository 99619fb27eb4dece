# Everything runs in a private environment, made when needed by scripts/bootstrap.sh.

VENV := .kneo-venv
BIN := $(VENV)/bin
LOWEST := .kneo-lowest
BOOTSTRAP := KNEO_VENV="$(CURDIR)/$(VENV)" scripts/bootstrap.sh
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test check format test-lowest test-previous bench crash fuzz build lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv:  ## make the private environment (.kneo-venv) with the development tools
	@$(BOOTSTRAP) dev

demo:  ## run a workflow, approve it, and watch it finish; then pay some invoices
	@$(BOOTSTRAP) run
	@KNEO_BIN="$(CURDIR)/$(BIN)" scripts/demo.sh

test: venv  ## run the whole suite against our own wheel, with branch coverage
	$(BIN)/python -P -m pytest -n auto --dist worksteal --cov --cov-config=pyproject.toml --cov-report=term $(ARGS)

check: venv  ## format, style, types, import floors, dependencies
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

format: venv  ## put the sources into shape
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

test-lowest:  ## prove the declared lowest versions with the whole suite
	@KNEO_LOWEST="$(CURDIR)/$(LOWEST)" scripts/lowest.sh $(ARGS)

test-previous: venv  ## prove that the code before the newest migration works on its schema (needs the git history)
	$(BIN)/python -P -m pytest -m previous tests/store/postgres $(ARGS)

bench: venv  ## measure speed
	$(BIN)/python bench/run.py $(ARGS)

crash: venv  ## run only the tests that kill real processes
	$(BIN)/python -P -m pytest -m crash $(ARGS)

fuzz: venv  ## ask a real server tens of thousands of made-up requests (some 10 minutes)
	$(BIN)/python -P -m pytest -m fuzz $(ARGS)

build: venv  ## build the wheel and the source distribution into dist/
	$(BIN)/python -m build --no-isolation --outdir dist

lock:  ## write constraints.txt again from pyproject.toml (needs uv)
	uv pip compile --quiet --all-extras pyproject.toml -o constraints.txt --no-header --no-annotate --universal --python-version 3.12

clean:  ## remove environments, caches and build products
	rm -rf $(VENV) $(LOWEST) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
