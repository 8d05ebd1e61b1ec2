# The environment is made once, in .venv, and brought up to date when pyproject.toml or constraints.txt change.

VENV ?= .venv
PYTHON ?= python3
PIP := $(VENV)/.pip
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help env lock demo test lint format format-check types check clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

env: $(READY)  ## make the environment (5.5 GB, some two minutes; PYTHON=python3.12 picks another Python)

lock: $(PIP)  ## renew constraints.txt from the ranges in pyproject.toml (downloads 3 GB, installs nothing)
	$(VENV)/bin/python scripts/lock_dependencies.py

# DEMO_MINUTES, DEMO_FROM and WAVS reach the script through its environment.
demo: $(READY)  ## hear a voice, train it on other speech, synthesise (DEMO_MINUTES=n for longer, WAVS=dir for your own)
	$(VENV)/bin/python scripts/demo.py

# One thread for each test process, or they fight for the cores.
test: $(READY)  ## run all tests
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q -n auto --maxprocesses 4 --dist loadgroup

check: lint format-check types  ## lint, format-check and types

lint: $(READY)  ## look for mistakes (ruff)
	$(VENV)/bin/ruff check

format-check: $(READY)  ## would `make format` change anything?
	$(VENV)/bin/ruff format --check

types: $(READY)  ## check the types (mypy)
	$(VENV)/bin/mypy

format: $(READY)  ## format the code and fix what lint can fix
	$(VENV)/bin/ruff check --fix-only
	$(VENV)/bin/ruff format

clean:  ## remove caches and build output (the environment, data and runs stay)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find configs examples scripts tests vocoder -name __pycache__ -prune -exec rm -rf {} +

# Debian without python3-venv has no ensurepip: there, pip comes from PyPI. A stamp is written last, so that a step that
# failed is run again. `make lock` needs pip alone: it must work when the locked versions cannot be installed any more.
$(PIP):
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	    $(PYTHON) -m venv $(VENV); \
	else \
	    $(PYTHON) -m venv --without-pip $(VENV) && $(VENV)/bin/python scripts/bootstrap_pip.py; \
	fi
	@touch $@

$(READY): $(PIP) pyproject.toml constraints.txt
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
