# The two commands of the README are `make demo` and `make test`; the rest serves them.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= local

# A machine with an NVIDIA GPU gets the CUDA build of vLLM; any other the CPU build.
VARIANT := $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
LOCK := requirements/$(VARIANT).txt
INSTALLED := $(VENV)/.installed-$(VARIANT)

.PHONY: demo test check install up down smoke lock loadtest clean

demo: install ## start Winnow, ingest a corpus, run three searches
	$(BIN)/winnow up --profile $(PROFILE)
	$(BIN)/winnow demo

test: install ## run the whole test suite
	$(BIN)/python -m pytest

check: install ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: install
	$(BIN)/winnow up --profile $(PROFILE)

down: ## stop everything; documents stay in .winnow/
	@if [ -x $(BIN)/winnow ]; then $(BIN)/winnow down; fi

smoke:
	$(BIN)/winnow smoke

loadtest: ## 30 s of search, embed and rerank traffic against the running service
	WINNOW_API_KEY=$$(cat .winnow/api_key) $(BIN)/locust -f loadtest/locustfile.py --headless \
	  --host $$($(BIN)/winnow url) --users 8 --spawn-rate 8 --run-time 30s --only-summary

install: $(INSTALLED)

$(INSTALLED): $(LOCK) requirements/torch-cpu.txt pyproject.toml
	@echo "Setting up $(VENV) with the $(VARIANT) dependencies; this takes some minutes the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# PyTorch's CPU build is not on PyPI under that name: it comes from where pip is told to look,
	@# or else from PyTorch's own index.
	if [ $(VARIANT) = cpu ]; then \
	  $(BIN)/pip install --disable-pip-version-check --no-deps -r requirements/torch-cpu.txt || \
	  $(BIN)/pip install --disable-pip-version-check --no-deps -r requirements/torch-cpu.txt \
	    --index-url https://download.pytorch.org/whl/cpu; \
	fi
	$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes -r $(LOCK)
	$(BIN)/pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

lock: ## resolve the dependencies again (needs uv)
	for variant in cpu cuda; do \
	  uv pip compile pyproject.toml --extra $$variant --extra dev --extra loadtest \
	    --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	    --override requirements/overrides-$$variant.txt \
	    $$( [ $$variant = cpu ] && echo --no-emit-package torch ) \
	    --no-header --quiet --output-file requirements/$$variant.txt || exit 1; \
	done

clean: down
	rm -rf $(VENV) .winnow
