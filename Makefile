# Two commands: `make demo` grows trees with a small model that comes with the package; `make test` runs the tests.
# Each target sets up .venv by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo quick space test test-fast test-servers browser docs quality style clean install

install: $(VENV)/.installed

# torch first: a later range that it satisfies then installs nothing more.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m hf_treecot.evaluation.lighteval_compat
	touch $@

demo: install
	$(BIN)/treecot demo

# The same on fewer problems.
quick: install
	$(BIN)/treecot demo --quick

# Whatever is in SPACE goes to the app: make space SPACE="--source runs/mine"
space: install
	$(BIN)/treecot space $(SPACE)

# Two processes: a file's tests stay together, since they share what is slow to make.
test: install browser
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Everything but browsers, servers and training, in less than a minute.
test-fast: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not browser and not servers and not training"

# Against servers that nobody here wrote: llama.cpp's, compiled once (half an hour; then from the cache), and that of
# transformers. Needs cmake and a C++ compiler.
test-servers: install
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt "gguf>=0.17" "openai>=1.98,<2.40"
	$(BIN)/python -m pytest tests/real_servers/checks.py

# Chromium for the tests of the Space: one that is there, else Debian's (without windows, if there is such a package), else
# Playwright's own.
browser: install
	@command -v chromium-headless-shell || command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -qq \
	       && { apt-get install -qq -y --no-install-recommends chromium-headless-shell fonts-dejavu-core \
	            || apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; }; } \
	  || $(BIN)/playwright install --only-shell chromium \
	  || echo "There is no Chromium: the tests of the Space in a browser will be skipped."

# A warning is an error.
docs: install
	$(BIN)/sphinx-build -q -W -b html docs build/docs

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

style: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
