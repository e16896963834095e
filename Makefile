# The two commands of the README are `make demo` and `make test`; the rest serves them.

# The first that is there and runs. Tests are run on 3.11; the locks are resolved for all three.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
  && echo $$python && break; done)
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
# What runs Winnow; and that with what tests, checks and load tests need.
RUNS := $(VENV)/.installed-$(VARIANT)
INSTALLED := $(VENV)/.installed-$(VARIANT)-dev

INSTALLER := requirements/install.py requirements/torch-cpu.txt requirements/uv.txt pyproject.toml
SET_UP = @$(if $(PYTHON),,$(error Winnow needs Python 3.11, 3.12 or 3.13: PYTHON=... names one)) \
  echo "The $(VARIANT) build of vLLM$(WHY)"; $(PYTHON) requirements/install.py $(VENV) $(VARIANT)

# One lock serves all three versions of Python: where they differ, its lines carry markers.
RESOLVE := UV_CUSTOM_COMPILE_COMMAND="make lock (for Python 3.11 to 3.13; the tests are run on 3.11)" \
  uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet
LOCK_CPU := requirements/unseen-cpu.in --extra cpu --override requirements/overrides-cpu.txt
PLATFORM := implementation_name == 'cpython' and platform_machine == 'x86_64' and $\
  platform_python_implementation == 'CPython' and sys_platform == 'linux'
DEV := --extra dev --extra loadtest --extra docs

.PHONY: demo test dashboards k8s-check obs-check check install up down smoke lock loadtest locust bench overhead \
  chaos overload clean simulate compare-policies check-simulator nodes postgres gpu ageing panels production-local \
  rollouts docs audit screenshots idle

demo: $(RUNS) ## start Winnow, ingest a corpus, run three searches
	$(BIN)/winnow up --profile $(PROFILE)
	$(BIN)/winnow demo

k8s-check: install ## the chart and the image: Helm, schemas, linters; what it renders, under load
	$(BIN)/python -m pytest tests/k8s tests/serve/production/test_upgrade.py

test: install ## run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup

obs-check: install ## metrics, dashboards, alerts, traces, request log and page, on real parts
	$(BIN)/python -m pytest tests/unit/cluster/grafana tests/unit/metrics tests/serve/shared/test_panels.py \
	  tests/unit/web/test_tracing.py tests/unit/web/test_ui_page.py tests/unit/cluster/test_status.py \
	  tests/whole/test_metrics.py tests/whole/test_request_log.py tests/whole/test_tracing.py tests/whole/test_ui.py tests/whole/test_ui_accessibility.py

dashboards: install ## write the chart's dashboards and rules from cluster/grafana
	$(BIN)/python -m cluster.grafana.files

check: install ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: $(RUNS)
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
	$(BIN)/python -m loadtest.overhead
	$(BIN)/python -m loadtest.bench --overhead loadtest/results/overhead.json

overhead: install ## what the pipeline costs: search with engines that cost nothing (needs wrk)
	$(BIN)/python -m loadtest.overhead

idle: install ## what a cluster that nobody calls costs, by process
	$(BIN)/python -m loadtest.idle

simulate: install ## in virtual time: 1,000 GPUs, a region lost, an upgrade under load
	$(BIN)/python -m loadtest.simulate scenarios

compare-policies: install ## Winnow's autoscaling policy against others, on the same traces
	$(BIN)/python -m loadtest.simulate compare

check-simulator: install ## the same load on a local cluster and in the simulator
	$(BIN)/python -m loadtest.simulate check

chaos: install ## kill and stop what a cluster is made of, under load (about ten minutes)
	$(BIN)/python -m loadtest.chaos

production-local: install ## the topology of production on this machine, with its own PostgreSQL and Redis
	$(BIN)/python -m loadtest.production

rollouts: install ## roll out one change after another of production-local, under load
	$(BIN)/python -m loadtest.rollouts

nodes: install ## load on one stage, then the other, on nodes that come and go (about four minutes)
	$(BIN)/python -m loadtest.nodes

overload: install ## more than a cluster can do, and noisy neighbours (about ten minutes)
	$(BIN)/python -m loadtest.overload

postgres: install ## recall and latency of the PostgreSQL store, with filters (about four minutes)
	$(BIN)/python -m loadtest.postgres --scale $(SCALE)

gpu: install ## engines and service on this machine's NVIDIA GPU, against what it can do (eight minutes)
	$(BIN)/python -m loadtest.gpu

panels: install ## a load test of SCENARIO from all sides: the dashboards' panels as plots, /ui, a trace, the bill (about five minutes)
	$(BIN)/python -m loadtest.panels --scenario $(SCENARIO) --scale $(SCALE)

ageing: install ## the embedded store after 20,000 single upserts, at SCALE times that (ten to twenty minutes)
	$(BIN)/python -m loadtest.ageing --scale $(SCALE)

# In an environment of its own: what audits is no part of what it audits.
AUDIT := .audit

audit: $(AUDIT)/bin/pip-audit ## known vulnerabilities of all that is locked (needs PyPI's JSON API)
	for lock in cpu-dev cuda-dev uv audit; do \
	  $< --strict --disable-pip --require-hashes -r requirements/$$lock.txt || exit 1; done

$(AUDIT)/bin/pip-audit: requirements/audit.txt
	$(PYTHON) -m venv --clear $(AUDIT)
	$(AUDIT)/bin/pip install --disable-pip-version-check --quiet --require-hashes -r $<
	touch $@

screenshots: install ## take the pictures of docs/ui.md from the running service, with `make demo` before it
	$(BIN)/python -m tests.screenshots

# The pages lie as in the repository, so that their links hold in both; the site has no source code,
# so links to it become plain names there.
SOURCE_LINKS := s@\[([^]]+)\]\((\.\./)*(deployments|cluster|k8s|loadtest)[a-z0-9_/-]*(\.py|\.yaml)?\)@\1@g

docs: install ## build the documentation site into .site/html; a warning is an error
	rm -rf .site && mkdir -p .site/source
	cp --parents README.md CHANGELOG.md SECURITY.md docs/*.md docs/images/*.png loadtest/results/*.* .site/source
	sed -Ei '$(SOURCE_LINKS)' .site/source/*.md .site/source/docs/*.md
	$(BIN)/zensical build --strict

.bench/%: loadtest/bench/requirements-%.txt
	$(PYTHON) -m venv --clear $@
	$@/bin/pip install --disable-pip-version-check --quiet torch==2.13.0
	$@/bin/pip install --disable-pip-version-check --quiet -r $<
	touch $@

install: $(INSTALLED) ## all that is needed to develop Winnow

$(RUNS): requirements/$(VARIANT).txt $(INSTALLER)
	$(SET_UP)
	@touch $@

$(INSTALLED): requirements/$(VARIANT)-dev.txt $(INSTALLER)
	$(SET_UP) --dev
	@touch $(RUNS) $@

lock: ## resolve the dependencies again (needs uv): what is locked stays, unless pyproject.toml forbids it
	$(RESOLVE) $(LOCK_CPU) --output-file requirements/cpu.txt
	$(RESOLVE) $(LOCK_CPU) $(DEV) --constraint requirements/cpu.txt --output-file requirements/cpu-dev.txt
	$(RESOLVE) --extra cuda --output-file requirements/cuda.txt
	$(RESOLVE) --extra cuda $(DEV) --constraint requirements/cuda.txt \
	  --output-file requirements/cuda-dev.txt
	echo uv | $(RESOLVE:pyproject.toml=-) --output-file requirements/uv.txt
	echo pip-audit | $(RESOLVE:pyproject.toml=-) --output-file requirements/audit.txt
	@# The marker of everything that Winnow runs on would stand on every line.
	sed -i -e "s/ and $(PLATFORM)//" -e "s/ ; python_full_version < '3.14' / /" \
	  $(foreach lock,cpu cpu-dev cuda cuda-dev uv audit,requirements/$(lock).txt)

clean: down
	rm -rf $(VENV) .winnow .bench .site .audit install.log
