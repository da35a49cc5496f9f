# `make demo` shows clinder at work, and `make test` checks that it works. Both need only Python and
# a package registry, and install everything into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help demo test lint format soak coverage mutation bench docs docs-tables dist zipapp lock clean

demo: $(VENV)/.demo ## Start a session on the embedded hub, run code on it, stop it
	$(BIN)/clinder run --hub local -- $(BIN)/clinder exec examples/hello.py

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

test: $(VENV)/.test $(VENV)/.myst $(VENV)/.repo2docker $(VENV)/.tools ## Run the whole suite
	$(BIN)/pytest -n 3 --dist loadfile # most tests spend their time waiting

lint: $(VENV)/.test ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test ## Format the code, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(VENV)/.test ## Check that 200 sessions with random faults and signals leave no server; a few minutes
	$(BIN)/python tests/soak.py

coverage: $(VENV)/.test $(VENV)/.myst $(VENV)/.repo2docker $(VENV)/.tools ## Run the whole suite and show the code that no test runs, in htmlcov/
	rm -rf .coverage* htmlcov
	$(BIN)/python tools/measured.py $(VENV)/measured
	PATH="$(CURDIR)/$(VENV)/measured:$$PATH" MEASURED_PYTHON="$(CURDIR)/$(VENV)/measured/python3" \
	  $(BIN)/coverage run -m pytest -n 3 --dist loadfile --hypothesis-profile ci # too slow for Hypothesis's deadlines
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

mutation: $(VENV)/.mutation ## Check that the tests notice changes in MODULE=repository; a few minutes
	$(BIN)/python tools/mutation.py $(or $(MODULE),repository)

# Measures a wheel of this checkout, installed as users install it.
bench: $(VENV)/.test $(VENV)/.myst benchmarks/npm/node_modules ## Run the benchmarks; half an hour on an otherwise idle machine
	rm -rf $(VENV)/bench
	$(PYTHON) -m venv --without-pip $(VENV)/bench
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(VENV)/bench/wheel .
	$(BIN)/python -m pip --python $(VENV)/bench/bin/python install --quiet \
	  --disable-pip-version-check $(VENV)/bench/wheel/*.whl
	PYTHONPATH=tests $(BIN)/python -m benchmarks --json benchmarks/results.json
	$(BIN)/python -m benchmarks.page

docs: $(VENV)/.test $(VENV)/.myst ## Check that MyST builds the documentation and executes its live page
	$(BIN)/clinder run --hub local --quiet -- \
	  $(BIN)/python tools/check_docs.py $(CURDIR)/$(VENV)/myst/bin/myst

docs-tables: $(VENV)/.test ## Update the parts of docs/ that are generated from data and code
	$(BIN)/python tests/reliability.py
	$(BIN)/python -m benchmarks.page
	$(BIN)/python tools/docs.py

dist: $(VENV)/.dist ## Build the sdist, and the wheel from it, in dist/; the same sources give the same bytes
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/twine check --strict dist/*

zipapp: $(VENV)/.demo ## Build clinder.pyz, the packages in a release of the action
	$(BIN)/python tools/build_zipapp.py clinder.pyz

lock: $(VENV)/.demo ## Update the action's requirements.txt from its requirements.in
	$(BIN)/python tools/lock.py

clean: ## Remove everything that the other targets created
	rm -rf $(VENV) benchmarks/npm/node_modules dist clinder.pyz .mypy_cache .ruff_cache .pytest_cache .hypothesis mutants
	rm -rf .coverage* htmlcov

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1' # the first with --group
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test --group workflows --group lint
	touch $@

benchmarks/npm/node_modules: benchmarks/npm/package-lock.json
	npm ci --prefix benchmarks/npm --no-audit --no-fund
	touch $@

$(VENV)/.dist: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1' # the first with --group
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dist
	touch $@

$(VENV)/.mutation: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group mutation
	touch $@

# Jupyter Book and MyST, in an environment of their own, because the tests only run them.
$(VENV)/.myst: pyproject.toml $(VENV)/.test
	$(PYTHON) -m venv --without-pip $(VENV)/myst
	$(BIN)/python -m pip --python $(VENV)/myst/bin/python install --quiet \
	  --disable-pip-version-check --group myst
	touch $@

# repo2docker, likewise, to render the Dockerfiles of commits.
$(VENV)/.repo2docker: pyproject.toml $(VENV)/.test
	$(PYTHON) -m venv --without-pip $(VENV)/repo2docker
	$(BIN)/python -m pip --python $(VENV)/repo2docker/bin/python install --quiet \
	  --disable-pip-version-check --group repo2docker
	touch $@

# Tools that execute notebooks: current versions, and the oldest that the bridge works with. Most of
# their modules are never imported, so compiling all of them would take longer than the tests save.
$(VENV)/.tools: pyproject.toml $(VENV)/.test
	for group in tools tools-oldest; do \
	  $(PYTHON) -m venv --without-pip $(VENV)/$$group && \
	  $(BIN)/python -m pip --python $(VENV)/$$group/bin/python install --quiet --no-compile \
	    --disable-pip-version-check --group $$group || exit 1; \
	done
	touch $@
