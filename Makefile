# The stable commands of this project; each sets up what it needs first.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && { echo $$p; break; }; done)
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
TENSORRT := build/tensorrt-rtx
TENSORRT_RTX := tensorrt-rtx==1.7.1.116
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
# One dot for each package that pip collects, so that a long installation is seen to go on.
DOTS := awk '/^(Collecting|Installing|Processing)/ { printf "."; fflush() } END { print " done" }'
# Tests share few cores: libraries that start threads of their own are held to one each.
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: setup demo test test-viewers check audit lock bench coverage torture fuzz gpu tensorrt fmt bundle clean

setup: $(STAMP)
	@scripts/system-packages.sh
	@scripts/node-packages.sh $(BIN)

$(STAMP): pyproject.toml requirements.lock
	@echo "setup: installing Python packages into $(VENV) (some minutes on a fresh machine)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check 'pip>=25' 'setuptools>=77' wheel
	@printf 'setup: $(TORCH) '
	@$(PIP) $(TORCH) | $(DOTS)
	@printf 'setup: requirements.lock '
	@$(PIP) -r requirements.lock | $(DOTS)
	@$(PIP) -q --no-build-isolation --no-deps -e .
	@touch $(STAMP)

demo: setup
	@$(BIN)/petct-node demo --out demo-output

test: setup
	$(THREADS) $(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not gpu and not tensorrt and not viewers"

# Opens our results in OHIF, in a browser; screenshots go to viewers-output/.
test-viewers: setup
	@scripts/system-packages.sh viewers
	@scripts/ohif.sh $(BIN)
	$(THREADS) $(BIN)/python -m pytest -q -m viewers tests/viewers

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Asks whether anything is known against the packages of requirements.lock; needs the internet.
audit: setup
	@scripts/audit.sh $(BIN)/python

# After a version in requirements.lock has changed: writes the hashes of its files beside it; needs the internet.
lock:
	@scripts/lock.sh $(PYTHON)

fmt: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Options go in BENCH: make bench BENCH="--quick --write-docs".
bench: setup
	@$(BIN)/python -m tests.bench $(BENCH)

# How often the intervals of training.statistics hold the truth, ten minutes; writes its table into docs/training.md.
coverage: setup
	@$(THREADS) $(BIN)/python -m tests.training.coverage --write-docs $(COVERAGE)

# Parts and options go in TORTURE: make torture TORTURE="kills --count 100".
torture: setup
	@$(THREADS) $(BIN)/python -m tests.torture $(TORTURE)

# A million damaged PDUs and data sets, half an hour: make fuzz FUZZ="identify --count 10000". Its line joins torture's table.
fuzz: setup
	@$(THREADS) $(BIN)/python -m tests.fuzz $(FUZZ)

# Builds real plans with TensorRT-RTX, which needs no GPU for that. It lies in a folder of its own,
# so that everything else goes on without it.
tensorrt: $(TENSORRT)/.installed
	$(THREADS) PYTHONPATH=$(TENSORRT) $(BIN)/python -m pytest -q -m "tensorrt and not gpu"

$(TENSORRT)/.installed: | setup
	@printf 'tensorrt: TensorRT-RTX into $(TENSORRT) '
	@$(PIP) --target $(TENSORRT) $(TENSORRT_RTX) | $(DOTS)
	@touch $@

# For a machine with a GPU and the extra tensorrt or tensorrt-rtx in $(VENV).
# Its tests first, then TensorRT beside torch; options of the latter go in GPU: make gpu GPU=--quick.
gpu: setup
	$(BIN)/python -m pytest -q -m "gpu or tensorrt"
	@$(BIN)/python -m tests.bench.gpu $(GPU)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache demo-output viewers-output torture-output build var tests/node_tools/node_modules
