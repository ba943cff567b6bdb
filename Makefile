# Each command makes the environment it needs in .venv, and only again when pyproject.toml has changed.
PYTHON ?= python3
BIN := .venv/bin
# JupyterLab refuses to run for root, as in many containers, unless told that this is meant.
ROOT_OK := $(if $(filter 0,$(shell id -u)),--allow-root)
# Two processes with one thread each are the fastest way through on two cores.
PARALLEL := -n 2 --dist loadfile
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=300
STRICT := PYTHONPATH=$(CURDIR)/tests/notebooks/guard PYTHONDONTWRITEBYTECODE=1

.PHONY: help lab test test-gpu notebooks exercises margins benchmark clean

help:
	@echo "make lab        open the course in JupyterLab"
	@echo "make test       run every check: style, library, every notebook (about 27 minutes on two cores)"
	@echo "make test-gpu   run every notebook and the benchmarks on CUDA"
	@echo "make notebooks  write addresses and taught code into the notebooks, and run them all again"
	@echo "make exercises  run the solutions of the exercises again, and make the students' notebooks from them"
	@echo "make margins    measure every bound in the notebooks over five seeds"
	@echo "make benchmark  compare speed with established libraries, samplers, quality against time, retrieval, speech, clips, answers, adapter (50 minutes)"
	@echo "make clean      remove the environment and all leftovers"

lab: .venv/course
	$(BIN)/jupyter lab $(ROOT_OK) --ServerApp.root_dir=. notebooks/00_start_here.ipynb

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/pytest tests $(PARALLEL)
	$(STRICT) OMP_NUM_THREADS=1 $(BIN)/pytest $(NBVAL) $(PARALLEL) --durations=3 notebooks exercises/solutions

test-gpu: .venv/test
	$(STRICT) VQDIT_DEVICE=cuda $(BIN)/pytest $(NBVAL) notebooks exercises/solutions
	for name in quantizer transformer digits joint speech clips answers adapter; do VQDIT_DEVICE=cuda $(BIN)/python tests/benchmarks/$$name.py || exit 1; done

notebooks: .venv/test
	$(BIN)/python -m tools.refresh

exercises: .venv/test
	$(BIN)/python -m tools.refresh exercises/solutions/*.ipynb
	$(BIN)/python -m tools.generate

margins: .venv/test
	$(BIN)/python -m tools.margins

benchmark: .venv/test
	for name in quantizer transformer samplers digits joint speech clips answers adapter; do $(BIN)/python tests/benchmarks/$$name.py || exit 1; done

.venv/course: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[course]"
	$(BIN)/jupyter labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements"
	touch $@

.venv/test: .venv/course
	$(BIN)/python -m pip install --quiet --editable ".[course,teach,test,benchmark]"
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis dist runs
	find . -name __pycache__ -prune -exec rm -rf {} +
