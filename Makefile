# make demo     start the page (sets everything up on the first call)
# make test     run every test, the browser's included
# make fuzz     try recordings, prompts, messages and releases made by chance: 20 s and 1 GB a case (COUNT=100 for fewer)
# make lint     lint, format and types: a minute or two
# make scripts  types and tests of the page's scripts (needs Node)
# make check    lint and scripts, then test: what has to pass before a change lands
# make fix      let ruff repair what it can
# make examples rebuild assets/examples (needs espeak-ng)
# make docs     build the documentation as a site in out/docs, which opens offline
# make lock     pin what the demo installs, with hashes; torch is left to the machine
# make audit    look the pinned packages up among the known weaknesses (asks PyPI's database)
# make wheel    build dist/*.whl
# make release  VERSION=0.2.0: version, changelog, wheel and hashes
# make space    write the folder of a Space (DEST=build/space), and start and use it in a clean environment
# make clean    remove what was built; make distclean also removes .venv

SHELL := /bin/bash
VENV  := .venv
BIN   := $(VENV)/bin

# The first interpreter found that is new enough; PYTHON=... overrules.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)

# The stamps are files in .venv: a second call finds them newer than what they depend on and starts at once.
DEMO_READY    := $(VENV)/.demo-ready
TEST_READY    := $(VENV)/.test-ready
BROWSER_READY := $(VENV)/.browser-ready
SCRIPTS_READY := $(VENV)/.scripts-ready
# Node's packages, beside those of Python.
NODE := $(VENV)/node

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz lint scripts check fix examples docs lock audit wheel release space clean distclean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(DEMO_READY)
	$(BIN)/python app.py

test: $(TEST_READY) $(BROWSER_READY)
	@# One thread each: two processes with two threads wait for one another.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=25 \
		-m "not alone"
	@# What is heard, and how long something takes, is not to wait for other tests.
	$(BIN)/python -m pytest --durations=5 -m alone

fuzz: $(TEST_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(if $(COUNT),--count $(COUNT))

lint: $(TEST_READY)
	@$(BIN)/ruff check . || { echo "Lint failed: 'make fix' mends most of it; mend by hand what it leaves."; exit 1; }
	@$(BIN)/ruff format --check . || { echo "Some files are not formatted: run 'make fix'."; exit 1; }
	@$(BIN)/mypy || { echo "Types do not fit: mend what is listed; '$(BIN)/mypy' repeats this step alone."; exit 1; }

# The types of what the page is sent are made of the schema that Python's tests use, too.
scripts: $(SCRIPTS_READY)
	@mkdir -p out
	@$(NODE)/node_modules/.bin/json2ts --input lmaczs/ui/web/payload.schema.json --output out/payload.d.ts
	@$(NODE)/node_modules/.bin/tsc --project tests/js/tsconfig.json || { echo "Types of the page's scripts do not fit: mend what is listed."; exit 1; }
	@node --test --test-reporter spec tests/js/*.test.mjs

check:
	@# Types and the browser's installation wait for different things.
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint $(BROWSER_READY)
	@$(MAKE) --no-print-directory scripts
	@$(MAKE) --no-print-directory test

fix: $(TEST_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

examples: $(TEST_READY)
	$(BIN)/python assets/make_examples.py
	$(BIN)/python -m lmaczs.ui.build_stored

docs: $(TEST_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "Open out/docs/index.html"

audit: $(TEST_READY)
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip --progress-spinner off

wheel: $(TEST_READY)
	rm -rf build dist
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build
	@ls -l dist

release: $(TEST_READY)
	$(BIN)/python space/make_release.py $(VERSION)

# torch and what hangs on its build (CUDA or none) are the machine's own.
LEFT_TO_THE_MACHINE := torch torchaudio triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
	nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver \
	nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
lock: $(TEST_READY)
	@mkdir -p build
	@# The versions that the tests ran with.
	$(BIN)/pip freeze --exclude-editable | grep -viE "^(torch|triton|nvidia|cuda)|@" > build/tested.txt
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile requirements.txt --constraint build/tested.txt --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate $(addprefix --no-emit-package ,$(LEFT_TO_THE_MACHINE)) --output-file requirements.lock

# CONSTRAINT=FILE keeps CUDA packages away from the check, see space/check_space.py.
DEST ?= build/space
space: $(TEST_READY) $(BROWSER_READY)
	$(BIN)/python space/build_space.py $(DEST)
	$(BIN)/python space/check_space.py $(DEST) $(if $(CONSTRAINT),--constraint $(CONSTRAINT))

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed and was not found: install it, or name it with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: install it (Debian and Ubuntu: apt-get install python3-venv)."; rm -rf $(VENV); exit 1; }

$(DEMO_READY): requirements.txt requirements.lock pyproject.toml setup.py | $(BIN)/python
	@echo "Installing the libraries into $(VENV): once, a few minutes"
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --editable .
	@touch $@

# The tests run with what the demo runs with.
$(TEST_READY): $(DEMO_READY) .ci/parity-requirements.txt .ci/parity-apart-requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --requirement .ci/parity-requirements.txt
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/apart --requirement .ci/parity-apart-requirements.txt
	@touch $@

$(BROWSER_READY): .ci/install-browser | $(BIN)/python
	.ci/install-browser
	@touch $@

# apt brings Node, where it is missing, with the browser.
$(SCRIPTS_READY): .ci/node-requirements.txt $(BROWSER_READY)
	npm install --silent --no-audit --no-fund --no-package-lock --prefix $(NODE) $$(grep -v "^#" .ci/node-requirements.txt)
	@touch $@
