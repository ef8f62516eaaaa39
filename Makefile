# The commands of this repository; `make help` lists them. Everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPINGS := typings/.ready
DEMO_SECONDS ?= 0
FUZZ_SECONDS ?= 60
SOAK_DAYS ?= 31
SOAK_SECONDS ?= 600
TEST_ARGS ?=
PORT ?=
BOARD_TEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test board-test soak fuzz docs lint format clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv and install what is needed

$(READY): pyproject.toml
	@echo "installing into $(VENV) (once; about half a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Felinar needs Python 3.11 or newer, and this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[sim,dev]'
	@touch $@

$(TYPINGS): $(READY)
	@rm -rf typings
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --target typings 'micropython-esp32-stubs>=1.29,<1.30'
	@touch $@

demo: $(READY) ## a simulated street, radio lamps with their bridge and wired ones, and the daemon, live; DEMO_SECONDS=90 ends by itself
	@$(BIN)/python -m felinar_demo --seconds $(DEMO_SECONDS)

test: $(READY) ## run every test
	$(BIN)/python -m pytest $(TEST_ARGS)

board-test: $(READY) ## run vectors and drivers on a board at PORT=/dev/ttyUSB0; without PORT on a virtual one
	@$(BIN)/python -m felinar_board_test $(if $(PORT),"$(PORT)") $(BOARD_TEST_ARGS)

soak: $(READY) ## let a node live for a month, then streets on the air; SOAK_DAYS=365 for a year, SOAK_SECONDS=3600 of streets
	SOAK_DAYS=$(SOAK_DAYS) SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -n0 --timeout=0 tests/soak

fuzz: $(READY) ## look for bytes that break the wire; FUZZ_SECONDS=600 takes longer
	$(BIN)/python -m felinar_fuzz --seconds $(FUZZ_SECONDS)

docs: $(READY) ## make the pages that are made from code anew
	$(BIN)/python -m felinar_docs
	$(BIN)/python -m felinar_build boards --readme
	$(BIN)/python -m felinar.flash docs/technician.md
	$(BIN)/python -m felinar_build manifest

lint: $(READY) $(TYPINGS) ## check style, types, house rules and that everything compiles for the chip
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright -p firmware/pyrightconfig.json
	PYTHONPATH=firmware $(BIN)/lint-imports
	$(BIN)/python -m felinar_build check

format: $(READY) ## format the sources
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove what was built (the environment stays)
	rm -rf build dist run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
