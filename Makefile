# `make help` lists the targets. Each sets up $(VENV) first, if it is not there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
WORKERS ?= 2
SIZE ?= full

.PHONY: demo help test test-all lint ruff ruff-format mypy hooks bench notebooks docs next-keras wheel clean

demo: $(VENV)/.pretrained ## the main job on real pictures, in about a minute; what `make` alone does
	$(BIN)/transferkit demo

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

test: lint ## what every change must pass: lint and the quick tests
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-all: lint ## the slow tests too
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "slow or not slow"

lint: ruff ruff-format mypy ## ruff, ruff format and mypy

ruff: $(VENV)/.test
	$(BIN)/ruff check .

ruff-format: $(VENV)/.test
	$(BIN)/ruff format --check .

mypy: $(VENV)/.test
	$(BIN)/mypy

hooks: $(VENV)/.dev ## lint before each commit: installs pre-commit's hook
	$(BIN)/pre-commit install

bench: $(VENV)/.test ## all benchmarks, in about an hour; SIZE=small in minutes; then benchmarks/compare.py
	$(BIN)/python benchmarks/run_all.py --size $(SIZE)

notebooks: $(VENV)/.test ## run the notebooks again, and keep what they show
	$(BIN)/python notebooks/execute.py

docs: $(VENV)/.docs ## site/index.html, from docs/ and the code
	$(BIN)/mkdocs build --quiet

next-keras: $(VENV)/.test ## the tests with the newest Keras, in an environment of its own: VENV=.venv-next
	$(BIN)/python -m pip install --quiet --upgrade --pre --no-deps keras
	$(BIN)/pytest tests/test_keras_internals.py
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

wheel: $(VENV)/.test ## dist/ with the sdist and the wheel
	$(BIN)/python -m build

clean: ## remove the environment
	rm -rf $(VENV)

# one stamp for each set of extras that is installed
$(VENV)/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
