# make demo: environment, installation, the main job on real pictures.   make test: lint and the quick tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
WORKERS ?= 2
SIZE ?= full

.PHONY: demo test test-all lint bench docs next-keras wheel clean

demo: $(VENV)/.pretrained
	$(BIN)/transferkit demo

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-all: lint
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "slow or not slow"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# SIZE=small takes some minutes; then python benchmarks/compare.py
bench: $(VENV)/.test
	$(BIN)/python benchmarks/run_all.py --size $(SIZE)

# site/index.html, from docs/ and the code
docs: $(VENV)/.docs
	$(BIN)/mkdocs build

# the newest Keras, its pre-releases too, beyond the upper bound: use an environment of its own, VENV=.venv-next
next-keras: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --upgrade --pre --no-deps keras
	$(BIN)/pytest tests/test_keras_internals.py
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

# dist/ with the sdist and the wheel
wheel: $(VENV)/.test
	$(BIN)/python -m build

clean:
	rm -rf $(VENV)

# one stamp for each set of extras that is installed
$(VENV)/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
