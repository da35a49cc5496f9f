# `make demo` shows clinder at work, `make test` proves it. Both need only Python and a package
# registry; all they install goes into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint format soak coverage mutation bench docs docs-tables dist zipapp lock clean

demo: $(VENV)/.demo ## Start a session on the embedded hub, run code on it, stop it
	$(BIN)/clinder run --hub local -- $(BIN)/clinder exec examples/hello.py

test: $(VENV)/.test $(VENV)/.myst ## The whole suite
	$(BIN)/pytest -n 3 --dist loadfile # most tests wait most of their time

lint: $(VENV)/.test ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: $(VENV)/.test ## 200 sessions with random faults and signals: is a server left? Some minutes
	$(BIN)/python tests/soak.py

coverage: $(VENV)/.test $(VENV)/.myst ## The whole suite, and what of the code it does not run: htmlcov/
	rm -rf .coverage* htmlcov
	$(BIN)/python tools/measured.py $(VENV)/measured
	PATH="$(CURDIR)/$(VENV)/measured:$$PATH" MEASURED_PYTHON="$(CURDIR)/$(VENV)/measured/python3" \
	  $(BIN)/coverage run -m pytest -n 3 --dist loadfile --hypothesis-profile ci # slow, so no deadlines
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

mutation: $(VENV)/.mutation ## Do the tests notice a changed MODULE=repository? Some minutes
	$(BIN)/python tools/mutation.py $(or $(MODULE),repository)

# What is measured is a wheel of this checkout, installed as users have it.
bench: $(VENV)/.test benchmarks/npm/node_modules ## How fast is clinder? Ten minutes, of a machine that does nothing else
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

docs-tables: $(VENV)/.test ## What docs/ has that is made from data and code
	$(BIN)/python tests/reliability.py
	$(BIN)/python -m benchmarks.page
	$(BIN)/python tools/docs.py

dist: $(VENV)/.dist ## The sdist and, made from that, the wheel, in dist/; the same sources give the same bytes
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/twine check --strict dist/*

zipapp: $(VENV)/.demo ## clinder.pyz: what a release of the action has in it, so that nothing is downloaded
	$(BIN)/python tools/build_zipapp.py clinder.pyz

lock: $(VENV)/.demo ## The action's requirements.txt, from its requirements.in
	$(BIN)/python tools/lock.py

clean: ## Remove what the above made
	rm -rf $(VENV) benchmarks/npm/node_modules dist clinder.pyz .mypy_cache .ruff_cache .pytest_cache .hypothesis mutants
	rm -rf .coverage* htmlcov

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1' # knows --group
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test --group workflows --group lint
	touch $@

benchmarks/npm/node_modules: benchmarks/npm/package-lock.json
	npm ci --prefix benchmarks/npm --no-audit --no-fund
	touch $@

$(VENV)/.dist: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1' # knows --group
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dist
	touch $@

$(VENV)/.mutation: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group mutation
	touch $@

# Jupyter Book and MyST, in an environment of their own: they are there to be run, not imported.
$(VENV)/.myst: pyproject.toml $(VENV)/.test
	$(PYTHON) -m venv --without-pip $(VENV)/myst
	$(BIN)/python -m pip --python $(VENV)/myst/bin/python install --quiet \
	  --disable-pip-version-check --group myst
	touch $@
