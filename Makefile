# make demo    the main job on sample data: train, segment, evaluate (DATA=folder for real data)
# make test    lint and all tests but the slow ones (make test-slow: only those; make test-all: both)
# make test-lowest    the engine's tests with the lowest versions that pyproject.toml promises; LOWEST_TORCH=... names another
#                     torch where the lowest cannot be had
# make package SLICER_VERSION=5.12    the archive for "Install from file" in the Extensions Manager of that Slicer
# make screenshots    the pictures of the README, taken from the module's panel with the sample
# make bench    speed of the loss, training, inference and start-up; rewrites the tables of docs/benchmarks.md
# make accuracy DATA=folder    accuracy of every method on real data, see docs/benchmarks.md
# make mutants    plants mistakes in copies of the engine and says which ones the fast tests do not notice
# make lint    ruff only (a part of make test)
# make clean    removes .venv, build and demo
# PYTHON=python3.12 chooses the interpreter; PIP_FLAGS is passed on to pip (for instance an index with CPU builds of torch).

PYTHON ?= python3
PIP_FLAGS ?=
WORKERS ?= 2
LOWEST_TORCH ?=
DATA ?=
SLICER_VERSION ?=
MACOS_REVISION ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
INSTALLED_MODULE := .venv/.installed-module
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --constraint constraints.txt

# several processes share the cores: one thread in each, and none spins while others wait
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test test-slow test-all test-lowest lint bench accuracy mutants package screenshots clean

demo: $(INSTALLED)
	$(BIN)/python Testing/Demo/demo.py --out demo $(if $(DATA),--data "$(DATA)")

test: lint $(INSTALLED_MODULE)
	$(PYTEST) -m "not slow"

test-slow: $(INSTALLED_MODULE)
	$(PYTEST) -m slow

test-all: test test-slow

test-lowest: BIN := build/lowest/bin
test-lowest:
	$(PYTHON) -m venv build/lowest
	sed -n '/^dependencies/,/^]/ s/.*"\(.*\)>=\(.*\)".*/\1==\2/p' pyproject.toml > build/lowest/versions.txt
	$(if $(LOWEST_TORCH),sed -i.all 's/^torch==.*/torch==$(LOWEST_TORCH)/' build/lowest/versions.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --constraint build/lowest/versions.txt '.[test]'
	$(BIN)/python -m pip uninstall --quiet --yes metassl
	PYTHONPATH=$(CURDIR)/MetaSSLSegment $(PYTEST) -m "not slow" Testing/Engine

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

package:
	@$(PYTHON) Testing/Package/package.py --slicer "$(SLICER_VERSION)" $(if $(MACOS_REVISION),--macos-revision $(MACOS_REVISION))

screenshots: $(INSTALLED_MODULE)
	$(BIN)/python Testing/Module/walkthrough.py --minutes 4 --out Resources/Screenshots

bench: $(INSTALLED_MODULE)
	$(BIN)/python Testing/Benchmarks/loss.py --table docs/benchmarks.md
	$(BIN)/python Testing/Benchmarks/training.py --table docs/benchmarks.md
	$(BIN)/python Testing/Benchmarks/inference.py --table docs/benchmarks.md
	$(BIN)/python Testing/Benchmarks/startup.py --table docs/benchmarks.md

accuracy: $(INSTALLED)
	$(BIN)/python Testing/Benchmarks/accuracy.py --data "$(DATA)"

mutants: $(INSTALLED)
	$(BIN)/python Testing/Mutants/mutants.py

clean:
	rm -rf .venv build demo

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "MetaSSL needs Python 3.10 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@

$(INSTALLED_MODULE): $(INSTALLED)
	$(PIP_INSTALL) --editable '.[test,test-module]'
	@touch $@
