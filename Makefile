# Two commands: `make demo` grows trees with a model trained on the spot; `make test` runs the tests.
# Each target sets up .venv by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quality style clean install

install: $(VENV)/.installed

# torch first: a later range that it satisfies then installs nothing more.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps lighteval==0.13.0 inspect-ai==0.3.285 botocore==1.44.5
	$(BIN)/python -m hf_treecot.evaluation.compat
	touch $@

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/speedrun.sh

test: install
	$(BIN)/python -m pytest

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

style: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
