PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo ablation test test-all test-oldest lint wheel-smoke check-neon bench bench-gpu clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml $(wildcard csrc/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[all,dev]"
	touch $@

demo: $(VENV)/.installed  ## train a plain and a GC network on context scenes and compare them
	$(BIN)/gcnet demo

ablation: $(VENV)/.installed  ## one of the paper's tables on made scenes, five seeds, about ten minutes; with a report
	$(BIN)/gcnet ablate position --jobs $(JOBS) --report

test: $(VENV)/.installed lint  ## lint, type check, all quick tests, docstring examples, wheel smoke test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"
	$(MAKE) wheel-smoke

test-all: $(VENV)/.installed lint  ## the same and the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
	$(MAKE) wheel-smoke

test-oldest:  ## the quick tests on the oldest supported torch
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet "torch==2.11.*" "torchvision==0.26.*" --editable ".[all,dev]"
	OMP_NUM_THREADS=1 $(VENV)-oldest/bin/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

bench: $(VENV)/.installed  ## time the blocks on this CPU, with the allocator as it is and tuned; see benchmarks/results
	$(BIN)/gcnet bench --device cpu --out benchmarks/results --name cpu
	$(BIN)/gcnet bench --device cpu --out benchmarks/results --name cpu-tuned --tuned-allocator

bench-gpu: $(VENV)/.installed  ## parity on the GPU, then times against mmcv, timm, torch.compile and a copy
	$(BIN)/python -m pytest tests/ops -k cuda
	$(BIN)/gcnet bench --device cuda --vs mmcv,timm,torchvision,compile,copy,plain --out benchmarks/results --name launches
	$(BIN)/gcnet bench --device cuda --vs mmcv,timm,torchvision,compile,copy,plain --out benchmarks/results --name graphs --graphs

lint: $(VENV)/.installed  ## Ruff and the type checker
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy

wheel-smoke: $(VENV)/.installed  ## build the wheel and try it in a clean environment with torch alone
	$(BIN)/python tests/wheel_smoke.py

check-neon:  ## run the C++ kernels as ARM code (Debian: apt install g++-aarch64-linux-gnu qemu-user)
	mkdir -p build
	aarch64-linux-gnu-g++ -std=c++17 -O3 -fopenmp -fno-math-errno -ffp-contract=fast -Wno-psabi \
		csrc/selfcheck.cpp -o build/selfcheck-aarch64
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/selfcheck-aarch64

clean:  ## remove environments and build products
	rm -rf $(VENV) $(VENV)-oldest build dist *.egg-info
