# Two commands do all their set-up on a fresh machine: `make search` and `make test`.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
ROOMS := search spaces evaluators compression studies
ARGS ?= --budget-ms 5

.PHONY: search test coverage quick lint types clean

search: $(VENV)/installed
	$(BIN)/autocompress search $(ARGS)

test: $(VENV)/installed lint types
	$(BIN)/python -m pytest

coverage: $(VENV)/installed
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

quick: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow and not cluster"

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The rooms are subpackages of autocompress that lie beside it; mypy wants to see them inside.
types: $(VENV)/installed
	rm -rf build/types && mkdir -p build/types/autocompress
	ln -s $(CURDIR)/autocompress/* build/types/autocompress/
	for room in $(ROOMS); do ln -s $(CURDIR)/$$room build/types/autocompress/$$room; done
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p autocompress

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .coverage
