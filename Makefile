# The two commands of the README are `make demo` and `make test`; the rest serves them.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= local
SCENARIO ?= steady
SCALE ?= 1

# An NVIDIA GPU with a driver for CUDA 13 gets the CUDA build of vLLM, any other machine the CPU
# build; VARIANT=cpu or VARIANT=cuda decides otherwise.
ifndef VARIANT
CUDA_DRIVER := 580
DRIVER := $(shell nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | grep -oEm1 '^[0-9]+')
VARIANT := $(shell test 0$(DRIVER) -ge $(CUDA_DRIVER) && echo cuda || echo cpu)
ifeq ($(VARIANT),cpu)
WHY := $(if $(DRIVER),: the NVIDIA driver is $(DRIVER) and CUDA 13 needs $(CUDA_DRIVER))
endif
endif
LOCK := requirements/$(VARIANT).txt
INSTALLED := $(VENV)/.installed-$(VARIANT)
INSTALL := $(BIN)/pip install --disable-pip-version-check --no-deps
TORCH := --require-hashes -r requirements/torch-cpu.txt

RESOLVE := uv pip compile pyproject.toml --python-version 3.11 --generate-hashes --no-header --quiet \
  --python-platform x86_64-manylinux_2_28

.PHONY: demo test check install up down smoke lock loadtest locust bench overhead chaos overload clean \
  simulate compare-policies check-simulator nodes docs

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

loadtest: install ## a load test of a cluster of its own: SCENARIO, of loadtest/scenarios, at SCALE times its rate
	$(BIN)/python -m loadtest.run $(SCENARIO) --scale $(SCALE)

locust: install ## the traffic of SCENARIO from Locust, against the running service
	WINNOW_SCENARIO=$(SCENARIO) WINNOW_API_KEY=$$(cat .winnow/api_key) $(BIN)/locust \
	  -f loadtest/locustfile.py --host $$($(BIN)/winnow url) --users 8 --autostart --run-time 60s

# Peers that cannot share this project's packages.
BENCH_PEERS := .bench/infinity .bench/plain

bench: install $(BENCH_PEERS) ## Winnow against its peers, in one run (needs wrk)
	$(BIN)/python -m loadtest.bench

overhead: install ## what the pipeline costs: search with engines that cost nothing (needs wrk)
	$(BIN)/python -m loadtest.overhead

simulate: install ## in virtual time: 1,000 GPUs, a region lost, an upgrade under load
	$(BIN)/python -m loadtest.simulate scenarios

compare-policies: install ## Winnow's autoscaling policy against others, on the same traces
	$(BIN)/python -m loadtest.simulate compare

check-simulator: install ## the same load on a local cluster and in the simulator
	$(BIN)/python -m loadtest.simulate check

chaos: install ## kill and stop what a cluster is made of, under load (about ten minutes)
	$(BIN)/python -m loadtest.chaos

nodes: install ## load on one stage, then the other, on nodes that come and go (about four minutes)
	$(BIN)/python -m loadtest.nodes

overload: install ## more than a cluster can do, and noisy neighbours (about ten minutes)
	$(BIN)/python -m loadtest.overload

# The pages lie as in the repository, so that their links hold in both; the site has no source code,
# so links to it become plain names there.
SOURCE_LINKS := s@\[([^]]+)\]\((\.\./)*(deployments|cluster|k8s|loadtest)[a-z0-9_/-]*(\.py|\.yaml)?\)@\1@g

docs: install ## build the documentation site into .site/html; a warning is an error
	rm -rf .site && mkdir -p .site/source
	cp --parents README.md CHANGELOG.md docs/*.md loadtest/results/*.* .site/source
	sed -Ei '$(SOURCE_LINKS)' .site/source/*.md .site/source/docs/*.md
	$(BIN)/zensical build --strict

.bench/%: loadtest/bench/requirements-%.txt
	$(PYTHON) -m venv --clear $@
	$@/bin/pip install --disable-pip-version-check --quiet torch==2.13.0
	$@/bin/pip install --disable-pip-version-check --quiet -r $<
	touch $@

install: $(INSTALLED)

$(INSTALLED): $(LOCK) requirements/torch-cpu.txt pyproject.toml
	@echo "Setting up $(VENV) with the $(VARIANT) dependencies$(WHY)"; \
	echo "This takes some minutes the first time"
	@# One without pip, or with the other variant's packages, is made anew.
	@[ -x $(BIN)/pip ] && [ -e $(VENV)/.variant-$(VARIANT) ] || { \
	  $(PYTHON) -m venv --clear $(VENV) && touch $(VENV)/.variant-$(VARIANT); }
	@# PyTorch's CPU build is not on PyPI: it comes from where pip is told to look, tried quietly,
	@# or else from PyTorch's own index.
	@[ $(VARIANT) != cpu ] || $(INSTALL) --quiet $(TORCH) 2>/dev/null || \
	  $(INSTALL) $(TORCH) --index-url https://download.pytorch.org/whl/cpu
	$(INSTALL) --require-hashes -r $(LOCK)
	$(INSTALL) --no-build-isolation -e .
	touch $@

lock: ## resolve the dependencies again (needs uv)
	$(RESOLVE) --extra cpu --extra dev --extra loadtest --override requirements/overrides-cpu.txt \
	  --no-emit-package torch --output-file requirements/cpu.txt
	$(RESOLVE) --extra cuda --extra dev --extra loadtest --output-file requirements/cuda.txt
	$(RESOLVE) --extra cuda --constraint requirements/cuda.txt --output-file requirements/image.txt

clean: down
	rm -rf $(VENV) .winnow .bench .site
