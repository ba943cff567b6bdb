# Each command makes the environment it needs in .venv, and only again when pyproject.toml has changed.
PYTHON ?= python3
BIN := .venv/bin
# JupyterLab refuses to run for root, as in many containers, unless told that this is meant.
ROOT_OK := $(if $(filter 0,$(shell id -u)),--allow-root)
# Two processes with one thread each are the fastest way through on two cores. A notebook's cells share a kernel, so files
# stay whole; they keep the order given, so that the long ones come first and neither process waits for the other's last.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/numbers.cfg --nbval-cell-timeout=300
STRICT := PYTHONPATH=$(CURDIR)/tests/notebooks/guard PYTHONDONTWRITEBYTECODE=1
TESTS := tests/library/test_quality.py tests/notebooks notebooks exercises/solutions tests/controls tests/exercises \
	tests/formulas tests/library
ON_A_GPU := quantizer transformer digits joint speech clips answers adapter

.PHONY: help lab check test test-gpu notebook notebooks exercises margins benchmark clean

help:
	@echo "make lab            open the course in JupyterLab"
	@echo "make check          style, types, contracts, and the tests of what has changed (within a minute)"
	@echo "make test           run every check, every notebook included (25 minutes on two cores)"
	@echo "make test-gpu       run every notebook and the benchmarks on CUDA"
	@echo "make notebook N=04  write address and taught code into one notebook, and run it again"
	@echo "make notebooks      the same for all"
	@echo "make exercises      run the solutions of the exercises again, and make the students' notebooks from them"
	@echo "make margins        measure every bound in the notebooks over five seeds"
	@echo "make benchmark      measure speed, quality against time, and answers (an hour; see tests/benchmarks)"
	@echo "make clean          remove the environment and all leftovers"

lab: .venv/course
	$(BIN)/jupyter lab $(ROOT_OK) --ServerApp.root_dir=. notebooks/00_start_here.ipynb

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $$($(BIN)/python -m tools.rooms mathematics)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.changed -n 2

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(STRICT) OMP_NUM_THREADS=1 $(BIN)/pytest $(NBVAL) $(PARALLEL) --durations=10 $(TESTS)

test-gpu: .venv/test
	$(STRICT) VQDIT_DEVICE=cuda $(BIN)/pytest $(NBVAL) notebooks exercises/solutions
	for name in $(ON_A_GPU); do VQDIT_DEVICE=cuda $(BIN)/python tests/benchmarks/$$name.py || exit 1; done

notebook: .venv/test
	@test -n "$(N)" || { echo "Say which one: make notebook N=04"; exit 1; }
	$(BIN)/python -m tools.refresh notebooks/$(N)_*.ipynb

notebooks: .venv/test
	$(BIN)/python -m tools.refresh

exercises: .venv/test
	$(BIN)/python -m tools.refresh exercises/solutions/*.ipynb
	$(BIN)/python -m tools.generate

margins: .venv/test
	$(BIN)/python -m tools.margins

benchmark: .venv/test
	for name in $(ON_A_GPU) samplers threads; do $(BIN)/python tests/benchmarks/$$name.py || exit 1; done

.venv/course: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[course]"
	$(BIN)/jupyter labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements"
	touch $@

.venv/test: .venv/course
	$(BIN)/python -m pip install --quiet --editable ".[course,teach,test,benchmark]"
	touch $@

.venv/dev: .venv/test
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist runs
	find . -name __pycache__ -prune -exec rm -rf {} +
