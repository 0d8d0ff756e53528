# Everything here needs only Python (3.11 to 3.13), git and make; each target sets up what it lacks.
#
#   make install   .venv with the locked dependencies and the project itself
#   make demo      the whole pipeline on this machine (RECORDING=file SPEED=x JSON=file)
#   make test      every test that needs no outside network (TESTS="tests/pipeline/core -k book" WORKERS=0 in one process)
#   make clients   .venv-clients with ccxt, python-binance and the official SDK, locked
#   make test-clients  these unmodified clients against the simulator (part of make test)
#   make check     format, lint, types, import contracts; no tests
#   make bench     the figures of docs/benchmarks.md (NAME=latency JSON=file)
#   make manifests topics and users of k8s/ from pipeline/wire/topics.py
#   make lock      resolve the dependencies anew

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
TESTS ?= tests
WORKERS ?= 2

# A stamp carries the checksum of what it stands for: unchanged locks cost nothing, a changed one installs again.
RUN_STAMP := $(VENV)/.run-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
CLIENTS := .venv-clients
CLIENTS_STAMP := $(CLIENTS)/.made-$(shell cat requirements-clients.lock | cksum | cut -d' ' -f1)
TEST_STAMP := $(VENV)/.test-$(shell cat requirements-test.lock pyproject.toml | cksum | cut -d' ' -f1)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: install install-test clients demo test test-clients check bench manifests lock clean

install: $(RUN_STAMP)

install-test: $(TEST_STAMP)

$(BIN)/python:
	@set -e; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    echo "making $(VENV) with $$("$$candidate" --version)"; \
	    "$$candidate" -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$candidate cannot make a virtual environment (on Debian: install python3-venv)" >&2; exit 1; \
	  fi; \
	done; \
	echo "no Python from 3.11 to 3.13 found; name one with: make PYTHON=/path/to/python3" >&2; exit 1

$(RUN_STAMP): | $(BIN)/python
	@echo "installing the locked dependencies"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.run-* && touch $@

$(TEST_STAMP): $(RUN_STAMP)
	@echo "installing the locked dependencies of the tests"
	@$(PIP) install --require-hashes --requirement requirements-test.lock
	@rm -f $(VENV)/.test-* && touch $@

demo: install
	@$(BIN)/perpguard demo $(if $(RECORDING),--recording $(RECORDING)) $(if $(SPEED),--speed $(SPEED)) $(if $(JSON),--json $(JSON))

# Their own environment: ccxt pins packages of ours to other versions.
clients: $(CLIENTS_STAMP)

$(CLIENTS_STAMP): | $(BIN)/python
	@echo "installing the locked client libraries"
	@$(BIN)/python -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes \
	  --requirement requirements-clients.lock
	@rm -f $(CLIENTS)/.made-* && touch $@

test-clients: install-test clients
	@$(BIN)/python -m pytest tests/clients

test: install-test clients
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(TESTS)

check: install-test
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

manifests: install
	@$(BIN)/python -m pipeline.strimzi k8s/base/kafka

bench: install
	@$(BIN)/perpguard bench $(NAME) $(if $(JSON),--json $(JSON))

# No index address gets into a lock: everybody resolves from the index that his own pip is set up for.
COMPILE := $(BIN)/python -m uv pip compile --quiet --generate-hashes --no-emit-index-url --universal \
  --python-version 3.11 --no-header pyproject.toml --extra build
lock: | $(BIN)/python
	@$(PIP) install uv
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --extra test --constraint requirements.lock --output-file requirements-test.lock
	@$(BIN)/python -m uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
	  --no-header tests/clients/requirements.in --output-file requirements-clients.lock

clean:
	@rm -rf $(VENV) $(CLIENTS) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
