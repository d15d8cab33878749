# Every target creates .venv and installs what it needs; only Python >= 3.11 and make are required.
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= demo

.PHONY: help install demo pictures atlas test test-all check format bench lock clean
help:
	@echo "make install    create .venv with raydream and everything it needs"
	@echo "make demo       paint and dream twelve landscapes; print the path of the gallery"
	@echo "make test       run the tests that CI runs"
	@echo "make test-all   run all tests, including slow ones"
	@echo "make check      check style, format and types"
	@echo "make format     format the code"
	@echo "make bench      measure the speed"
	@echo "make pictures   make the pictures in docs/pictures again"
	@echo "make atlas      make the page of the network's channels again"
	@echo "make lock       update requirements.lock"
	@echo "make clean      remove what make created"

# The locked packages first, with their hashes checked; then raydream itself, editable.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "raydream needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

install: .venv/installed

demo: install
	$(BIN)/raydream scenery $(DEMO)/photographs
	$(BIN)/raydream dataset $(DEMO)/photographs $(DEMO)/dreams --recipe quick --keep-source

pictures: install
	$(BIN)/python docs/pictures.py

atlas: install
	$(BIN)/python docs/atlas.py

test: install
	$(BIN)/python -m pytest -m "not slow"

test-all: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m tests.bench

lock: install
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra video --extra sweep --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file requirements.lock

clean:
	rm -rf .venv $(DEMO) .mypy_cache .pytest_cache .ruff_cache
