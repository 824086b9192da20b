# make train   sets everything up, trains case14, and evaluates it beside doing nothing;
#              make train CONFIG=case118 the same on 118 buses
# make install sets up .venv with what training and evaluating need
# make install-sweep adds Optuna, which `python -m launch.sweep` searches with
# make install-formats adds pandapower and pypowsybl, which read other programs' grids
# make install-grid2op adds Grid2Op and lightsim2grid, for `python -m gridracer.grid2op`
# make test    sets everything up and runs the quick tests, on one process more than there are cores
# make test-slow  runs the long ones: training, thousands of inputs, many operating points
# make lint    formatting, style and imports
# make cases   makes envs/case/cases and envs/case/fleets again, from PGLib's files
# make peers   installs what `python -m launch.bench` compares with, in an environment of its own
# make docs    builds the documentation as a site in site/, in an environment of its own
# make notebooks  runs docs/notebooks again and keeps what they print and draw
# make test-library  tests the library on the newest Python and jax, in an environment of its own
# make rllib   sets up .venv-rllib, in which the scripts of `examples` run
# make lock    resolves requirements*.in into the hashed locks (needs uv)

SHELL := /bin/bash
VENV ?= .venv
PEERS ?= .venv-peers
DOCS ?= .venv-docs
LIBRARY ?= .venv-library
RLLIB ?= .venv-rllib
TORCH := 2.13.0
PY := $(VENV)/bin/python
CONFIG ?= case14
ifndef RUN
RUN := runs/$(CONFIG)-$(shell date +%Y%m%d-%H%M%S)
endif

.PHONY: train install install-sweep install-formats install-grid2op test test-slow test-library lint format cases peers docs \
	notebooks rllib lock clean

train: $(VENV)/.runtime
	$(PY) -m launch.local --config=$(CONFIG) --workdir=$(RUN)
	$(PY) -m launch.evaluate --workdir=$(RUN)

install: $(VENV)/.runtime

install-sweep: $(VENV)/.sweep

install-formats: $(VENV)/.formats

install-grid2op: $(VENV)/.grid2op

test: $(VENV)/.tools
	$(PY) -m pytest -n auto --dist=worksteal

test-slow: $(VENV)/.tools
	$(PY) -m pytest -m slow -n auto --maxprocesses=2 --dist=worksteal

test-library: $(LIBRARY)/.library
	$(LIBRARY)/bin/python -m pytest tests/gridracer/test_gymnasium_env.py \
	  tests/gridracer/test_vector_env.py tests/gridracer/test_parallel_env.py \
	  tests/gridracer/test_trainer.py tests/envs/step tests/learner tests/actors \
	  'tests/docs/test_code_blocks.py::test_code_blocks_run_in_order[docs/howto/python.md]' \
	  --ignore=tests/envs/step/test_security.py

rllib: $(RLLIB)/.rllib

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

docs: $(DOCS)/.docs
	@NO_MKDOCS_2_WARNING=true $(DOCS)/bin/python -m mkdocs build --strict --quiet
	@echo "the documentation is in site/index.html"

notebooks: $(VENV)/.tools
	$(PY) docs/notebooks/run.py

# An environment of the first Python 3 of the minor versions $(1) that is on PATH, in pyenv or uv.
define set_up
	@python=; \
	for minor in $(1); do \
	  for candidate in \
	    "$$(command -v python3.$$minor 2>/dev/null)" \
	    "$$(PYENV_VERSION=$$(pyenv latest 3.$$minor 2>/dev/null) pyenv which python3.$$minor 2>/dev/null)" \
	    "$$(uv python find 3.$$minor 2>/dev/null)"; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c "import sys, venv, ensurepip; sys.exit(sys.version_info[1] != $$minor)" 2>/dev/null; then \
	      python="$$candidate"; break 2; \
	    fi; \
	  done; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: no Python of $(addprefix 3.,$(1)) on PATH, in pyenv, or by uv; install one, as by" >&2; \
	  echo "  uv python install 3.$(firstword $(1))" >&2; \
	  echo "  pyenv install 3.$(firstword $(1))" >&2; \
	  echo "  apt-get install python3.$(firstword $(1)) python3.$(firstword $(1))-venv   (where the distribution has it)" >&2; \
	  exit 1; \
	fi; \
	folder=$(@D); folder=$${folder%/bin}; \
	echo "setting up $$folder with $$python"; \
	"$$python" -m venv "$$folder" || { rm -rf "$$folder"; exit 1; }
endef

# Launchpad has no build for a newer Python.
$(VENV)/bin/python $(PEERS)/bin/python $(DOCS)/bin/python:
	$(call set_up,10)

$(LIBRARY)/bin/python $(RLLIB)/bin/python:
	$(call set_up,13 12 11)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing the runtime, about a minute"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.sweep: requirements-sweep.lock $(VENV)/.runtime
	@echo "installing Optuna"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-sweep.lock
	@touch $@

$(VENV)/.formats: requirements-formats.lock $(VENV)/.runtime
	@echo "installing pandapower and pypowsybl"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-formats.lock
	@touch $@

$(VENV)/.grid2op: requirements-grid2op.lock $(VENV)/.runtime
	@echo "installing Grid2Op and lightsim2grid"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-grid2op.lock
	@touch $@

$(VENV)/.tools: requirements-test.lock $(VENV)/.sweep $(VENV)/.formats $(VENV)/.grid2op
	@echo "installing the test tools"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-test.lock
	@touch $@

# The peers pin other versions than ours do, so they share nothing with $(VENV).
$(PEERS)/.peers: requirements-peers.lock | $(PEERS)/bin/python
	@echo "installing the peers"
	@$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-peers.lock
	@touch $@

# The site's tools read our sources and import none of them.
$(DOCS)/.docs: requirements-docs.lock | $(DOCS)/bin/python
	@echo "installing what the documentation is built with"
	@$(DOCS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-docs.lock
	@touch $@

# The library on the newest Python there is, without Launchpad, Reverb or TensorFlow.
$(LIBRARY)/.library: requirements-newer.lock pyproject.toml | $(LIBRARY)/bin/python
	@echo "installing the library on a newer Python"
	@$(LIBRARY)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-newer.lock
	@$(LIBRARY)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# PyTorch is no part of the lock: its CUDA build takes 5 GB, and pip takes a CPU build of the same
# version where one is offered to it (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS).
$(RLLIB)/.rllib: requirements-rllib.lock pyproject.toml | $(RLLIB)/bin/python
	@echo "installing RLlib, Stable-Baselines3 and PyTorch: some minutes, 6 to 7 GB"
	@$(RLLIB)/bin/python -m pip install -qq --disable-pip-version-check torch==$(TORCH)
	@$(RLLIB)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-rllib.lock
	@$(RLLIB)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

LOCK := uv pip compile --quiet --generate-hashes --no-emit-index-url --custom-compile-command "make lock"
OURS := $(LOCK) --python-version 3.10
NEWER := $(LOCK) --python-version 3.11 --universal

lock:
	$(OURS) --override overrides.txt requirements-library.in requirements.in -o requirements.lock
	$(OURS) --override overrides.txt -c requirements.lock requirements-sweep.in \
	  -o requirements-sweep.lock
	$(OURS) --override overrides.txt -c requirements.lock requirements-formats.in \
	  -o requirements-formats.lock
	$(OURS) --override overrides.txt -c requirements.lock -c requirements-formats.lock \
	  requirements-grid2op.in -o requirements-grid2op.lock
	$(OURS) --override overrides.txt -c requirements.lock -c requirements-sweep.lock \
	  -c requirements-formats.lock -c requirements-grid2op.lock requirements-environments.in \
	  requirements-test.in -o requirements-test.lock
	$(OURS) requirements-peers.in -o requirements-peers.lock
	$(OURS) requirements-docs.in -o requirements-docs.lock
	$(NEWER) requirements-library.in requirements-environments.in requirements-newer.in \
	  -o requirements-newer.lock
	$(NEWER) --override overrides-rllib.txt requirements-library.in requirements-environments.in \
	  requirements-newer.in requirements-rllib.in -o requirements-rllib.lock

clean:
	rm -rf $(VENV) $(PEERS) $(DOCS) $(LIBRARY) $(RLLIB) site *.egg-info
