# make demo    the main job on sample data: train, segment, evaluate (DATA=folder for real data)
# make test    all tests but the slow ones (make test-slow: only those; make test-all: both)
# make lint, make accuracy, make clean
# PYTHON=python3.12 chooses the interpreter, PIP_FLAGS is handed to pip (such as an index with CPU builds of torch).

PYTHON ?= python3
PIP_FLAGS ?=
DATA ?=
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-slow test-all lint accuracy clean

demo: $(INSTALLED)
	$(BIN)/python Testing/demo.py --out demo $(if $(DATA),--data "$(DATA)")

test: lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

test-all: test test-slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

accuracy: $(INSTALLED)
	$(BIN)/python Testing/Benchmarks/accuracy.py --data "$(DATA)"

clean:
	rm -rf .venv build demo

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "MetaSSL needs Python 3.10 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --constraint constraints.txt --editable '.[test]'
	@touch $@
