# Everything runs in .venv, which the targets make and fill themselves. Needs Python 3.11 or newer, nothing else.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest --dist loadgroup --numprocesses
DEMO := data/demo

.PHONY: help kernels wheel demo test test-slow test-nightly aarch64 conformance hub-versions gallery lint format bench gpu clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# Without a C compiler there is a line, and kernels are compiled on first use.
kernels: .venv/build  ## compile the kernels for this machine, so that no first command waits for it
	@$(BIN)/python -m ncagen.native.compile || true

wheel: .venv/build  ## build a wheel in dist/ with the kernels compiled for every level of this architecture
	$(BIN)/python -m ncagen.native.compile all
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

demo: kernels  ## build a small high-band dataset with validation, verify and show it
	$(BIN)/ncagen build --tokens 2M --band high --validation 200K --rows-per-shard 512 --out $(DEMO)
	$(BIN)/ncagen verify $(DEMO) --regenerate 1%
	$(BIN)/ncagen show $(DEMO)

test: .venv/test kernels  ## run the quick tests, two at a time
	$(PYTEST) 2 -m "not slow and not nightly"

# Three at a time on two cores: many of them wait for a node, a store or a signal.
test-slow: .venv/test kernels  ## run the slow tests, three at a time
	$(PYTEST) 3 -m "slow and not nightly"

test-nightly: .venv/test kernels  ## run every test, more kill moments and matrix cells among them, and all of conformance
	$(PYTEST) 2
	$(MAKE) conformance

aarch64: .venv/test  ## compare kernels and rows with those of an emulated ARM processor (Debian only, half an hour)
	PYTHON=$(BIN)/python tests/aarch64/run.sh

conformance: kernels  ## load datasets and exports with the released packages (QUICK=1: half of them)
	$(BIN)/python tests/conformance/run.py $(if $(QUICK),--quick)

hub-versions: .venv/build  ## test push, pull and card with older releases of huggingface_hub
	$(BIN)/python tests/conformance/run.py --make hub036 hub1
	for version in hub036 hub1; do .conformance/$$version/bin/python -m pytest -m "not slow and not nightly" \
		tests/test_hub_push.py tests/test_hub_pull.py tests/test_card.py || exit 1; done

gallery: .venv/test  ## draw the pictures of docs/gallery.md
	$(BIN)/python docs/make_gallery.py

lint: .venv/lint  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror ncagen/cuda/*.h

format: .venv/lint  ## bring the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i ncagen/cuda/*.h

bench: kernels  ## measure this machine
	$(BIN)/ncagen bench

# Five minutes on a machine with an NVIDIA GPU. `ARGS=--device=host` tries the program without one.
gpu: .venv/test kernels  ## test the CUDA kernels and measure them, and print a block to paste into an issue
	$(PYTEST) 2 tests/test_gpu.py tests/test_ptx.py tests/test_selfcheck.py
	$(BIN)/python benchmarks/gpu.py $(ARGS)

clean:  ## remove what the targets made
	rm -rf .venv .aarch64 .conformance data/demo dist .pytest_cache .hypothesis .mypy_cache .ruff_cache

# One stamp for each set of packages; a change of the requirements installs them anew.
.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is older than 3.11: use make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/build: .venv/python pyproject.toml constraints.txt
	$(PIP) --editable '.[build]'
	@touch $@

.venv/test: .venv/build
	$(PIP) --editable '.[test]'
	@touch $@

.venv/lint: .venv/test
	$(PIP) --editable '.[lint]'
	@touch $@
