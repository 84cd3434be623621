# Every target sets up what it needs. Only make and Python 3.11 or newer must be there before.
PYTHON ?= python3
BIN := .venv/bin
RUN := .venv/.complete-run
STAMP := .venv/.complete
# Where tests with the markers `calm` and `alone` are: to read all others takes longer than some of them.
REAL := tests/real tests/unit/services
# uv takes a tenth of pip's time. It does not read pip's configuration: where it reaches no index, pip installs.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) 2>/dev/null || \
  $(BIN)/python -m pip install --quiet --require-hashes -r $(1)

.PHONY: help setup demo site test test-together test-calm test-alone test-outside test-fast test-browser test-docker mutants check format schema images lock audit stubs bench capacity predictions clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 13

setup: $(STAMP) ## make .venv with exactly the locked files, and the lb-lab command in it

$(RUN): requirements.txt requirements-setup.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "lb-lab needs Python 3.11 or newer; say which: make setup PYTHON=python3.11" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-setup.txt || true
	$(call install,requirements.txt)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# What tests and checks need is not needed to run the lab.
$(STAMP): $(RUN) requirements-dev.txt
	$(call install,requirements-dev.txt)
	@touch $@

demo: $(RUN) ## run the experiment `sticky`
	@# Status 3: no verdict. The last lines on the terminal say why. The demo has still run.
	@echo $(BIN)/python run_experiment.py sticky
	@$(BIN)/python run_experiment.py sticky || { [ $$? -eq 3 ] && \
	  echo "There is no verdict this time; the lines above say why. Again: make demo"; }

site: setup ## make web pages of the lessons from your runs: results/site/index.html
	$(BIN)/python run_experiment.py site

# Tests start hundreds of processes. Each one would compile the lab's modules again if Python did not keep them.
test test-together test-calm test-alone test-outside test-fast test-browser test-docker: export PYTHONDONTWRITEBYTECODE =
test test-together test-calm test-alone: export LB_LAB_THOROUGH ?= 1

test: setup ## run all tests, in four steps
	$(MAKE) test-together
	$(MAKE) test-calm
	$(MAKE) test-alone
	$(MAKE) test-outside

# Many tests wait: three processes keep two cores busy. Tests that others would disturb come after them.
test-together: setup
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not calm and not alone and not docker and not browser"

# Each takes less than a core. So two at a time, their loads keep their rates.
test-calm: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m calm $(REAL)

test-alone: setup
	$(BIN)/python -m pytest -m alone $(REAL)

# Containers use less than half of two cores; Chromium gets what they leave.
test-outside: setup
	$(MAKE) -j 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) test-browser test-docker

test-fast: setup ## run the unit tests without those of whole runs: about half a minute
	@# Two processes with one thread each: the tables here are too small for more.
	POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not whole_run" tests/unit

test-browser: setup ## run the tests in Chromium; without one they skip, and say so
	nice $(BIN)/python -m pytest -m browser -rs tests/browser

test-docker: setup ## run the tests in containers; without a Docker engine they skip, and say so
	$(BIN)/python -m pytest -m docker -rs tests/docker

mutants: setup ## change the analysis in many small ways, and count what the tests notice (an hour or more)
	@# Installed apart from the locked versions, because only this target needs it.
	test -d .venv/mutants || $(BIN)/python -m pip install --quiet --target .venv/mutants cosmic-ray==8.7.0
	PYTHONPATH=.:.venv/mutants POLARS_MAX_THREADS=1 nice $(BIN)/python -m tests.mutants

check: setup ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: setup ## write the generated files again: experiments/schema.json, pages in docs/, the README's table
	$(BIN)/python -m docs.pages

images: setup ## make the pictures of README and docs anew, from real runs (minutes; a calm machine)
	$(BIN)/python -m docs.pages.pictures

lock: ## write the hashes of the locked versions again, after a change of a version
	$(PYTHON) -m venv --clear build/uv
	build/uv/bin/python -m pip install --quiet uv==0.13.9
	for file in requirements.txt requirements-dev.txt requirements-setup.txt; do \
	  { grep '^#' $$file && sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' $$file | \
	    build/uv/bin/uv pip compile - --quiet --generate-hashes --no-deps --universal --python-version 3.11 \
	      --no-header --no-annotate --no-emit-index-url; } > $$file.new && mv $$file.new $$file || exit 1; \
	done

audit: ## ask a public service for known weaknesses of the locked versions; says so where it cannot
	@if $(PYTHON) -m venv build/audit && build/audit/bin/python -m pip install --quiet pip-audit==2.10.1; then \
	  $(PYTHON) .ci/audit.py build/audit/bin/pip-audit requirements*.txt; \
	else echo "audit: skipped: pip-audit cannot be installed here"; fi

stubs: setup ## write the gRPC stubs anew
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. services/*.proto

bench: setup ## measure what the lab itself costs
	$(BIN)/python -m bench
	$(BIN)/python -m bench.simulator

capacity: setup ## measure what one core carries: results/capacity (some twelve minutes; goes on where it stopped)
	$(BIN)/python -m bench.capacity
	cp docs/capacity.md results/capacity/capacity.md
	$(BIN)/python -m bench.capacity.page results/capacity/points.csv results/capacity/capacity.md
	$(BIN)/python -m bench.judging 100000 1000000 --page results/capacity/capacity.md

predictions: setup ## write docs/predictions.md: how far the predictions of the newest runs in results/ held
	$(BIN)/python -m bench.predictions

clean: ## remove caches; keeps .venv and results/
	rm -rf build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
