# make train   sets everything up, trains case14, and evaluates it beside doing nothing;
#              make train CONFIG=case118 the same on 118 buses
# make install sets up .venv with what training and evaluating need
# make install-sweep adds Optuna, which `python -m launch.sweep` searches with
# make install-grid2op adds Grid2Op and lightsim2grid, for `python -m gridracer.grid2op`
# make test    sets everything up and runs the quick tests, on one process more than there are cores
# make test-slow  runs the long ones: training, thousands of inputs, many operating points
# make lint    formatting, style and imports
# make cases   makes envs/case/cases and envs/case/fleets again, from PGLib's files
# make peers   installs what `python -m launch.bench` compares with, in an environment of its own
# make lock    resolves requirements*.in into the hashed locks (needs uv)

SHELL := /bin/bash
VENV ?= .venv
PEERS ?= .venv-peers
PY := $(VENV)/bin/python
CONFIG ?= case14
ifndef RUN
RUN := runs/$(CONFIG)-$(shell date +%Y%m%d-%H%M%S)
endif

.PHONY: train install install-sweep install-grid2op test test-slow lint format cases peers lock clean

train: $(VENV)/.runtime
	$(PY) -m launch.local --config=$(CONFIG) --workdir=$(RUN)
	$(PY) -m launch.evaluate --workdir=$(RUN)

install: $(VENV)/.runtime

install-sweep: $(VENV)/.sweep

install-grid2op: $(VENV)/.grid2op

test: $(VENV)/.tools
	$(PY) -m pytest -n auto --dist=worksteal

test-slow: $(VENV)/.tools
	$(PY) -m pytest -m slow -n auto --maxprocesses=2 --dist=worksteal

lint: $(VENV)/.tools
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.tools
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

cases: $(VENV)/.tools
	$(PY) -m envs.case.convert --all
	$(PY) -m envs.case.place_fleet
	$(PY) -m envs.case.place_microgrids

peers: $(PEERS)/.peers

# Python 3.10: from PATH, from pyenv, or from uv, whichever is there first.
$(VENV)/bin/python $(PEERS)/bin/python:
	@python=; \
	for candidate in \
	  "$$(command -v python3.10 2>/dev/null)" \
	  "$$(PYENV_VERSION= pyenv which python3.10 2>/dev/null)" \
	  "$$(uv python find 3.10 2>/dev/null)"; do \
	  if [ -n "$$candidate" ] && "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: Python 3.10 was not found on PATH, in pyenv, or by uv." >&2; \
	  echo "Launchpad has no build for a newer one. Install it with one of:" >&2; \
	  echo "  uv python install 3.10" >&2; \
	  echo "  pyenv install 3.10" >&2; \
	  echo "  apt-get install python3.10 python3.10-venv   (where the distribution has it)" >&2; \
	  exit 1; \
	fi; \
	folder=$(@D); folder=$${folder%/bin}; \
	echo "setting up $$folder with $$python"; \
	"$$python" -m venv "$$folder" || { rm -rf "$$folder"; exit 1; }

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing the runtime, about a minute"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.sweep: requirements-sweep.lock $(VENV)/.runtime
	@echo "installing Optuna"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-sweep.lock
	@touch $@

$(VENV)/.grid2op: requirements-grid2op.lock $(VENV)/.runtime
	@echo "installing Grid2Op and lightsim2grid"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-grid2op.lock
	@touch $@

$(VENV)/.tools: requirements-test.lock $(VENV)/.sweep $(VENV)/.grid2op
	@echo "installing the test tools"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-test.lock
	@touch $@

# The peers pin other versions than ours do, so they share nothing with $(VENV).
$(PEERS)/.peers: requirements-peers.lock | $(PEERS)/bin/python
	@echo "installing the peers"
	@$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-peers.lock
	@touch $@

LOCK := uv pip compile --quiet --python-version 3.10 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

lock:
	$(LOCK) --override overrides.txt requirements.in -o requirements.lock
	$(LOCK) --override overrides.txt -c requirements.lock requirements-sweep.in \
	  -o requirements-sweep.lock
	$(LOCK) --override overrides.txt -c requirements.lock requirements-grid2op.in \
	  -o requirements-grid2op.lock
	$(LOCK) --override overrides.txt -c requirements.lock -c requirements-sweep.lock \
	  -c requirements-grid2op.lock requirements-test.in -o requirements-test.lock
	$(LOCK) requirements-peers.in -o requirements-peers.lock

clean:
	rm -rf $(VENV) $(PEERS) *.egg-info
