# Two commands do all their set-up on a fresh machine: `make search` and `make test`.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
ARGS ?= --budget-ms 5
# Two tests at a time, each with one thread: what measures latency shares one worker (the group `latency`).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadgroup

.PHONY: search test coverage quick lint types clean

search: $(VENV)/installed
	$(BIN)/autocompress search $(ARGS)

test: $(VENV)/installed lint types
	$(PYTEST)

coverage: $(VENV)/installed
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

quick: $(VENV)/installed
	$(PYTEST) -m "not slow and not cluster"

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy looks at the package as it is installed, in which the rooms lie inside autocompress, and at what uses it.
types: $(VENV)/installed
	rm -rf build/types
	$(BIN)/python -c "import setuptools; setuptools.setup()" --quiet build --build-lib build/types
	cp -R benchmarks build/types
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p autocompress -p benchmarks

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .coverage
