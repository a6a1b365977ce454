# GNU make >= 4.3 and Python >= 3.11 are all that is needed; everything else is installed into .venv.
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Another interpreter: make install PYTHON=/path/to/python3.13
PYTHON ?=
# Passed on to the command behind a target: make test ARGS="-k lease -x"
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CANDIDATES := python3.14 python3.13 python3.12 python3.11 python3 python

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: install
install: $(STAMP) ## Install everything into .venv (the command is .venv/bin/hae)

# The stamp is written last: an interrupted installation is taken up again by the next make.
# A candidate is run, not only looked up: a version manager's shim can stand in PATH without an interpreter behind it.
$(STAMP): requirements-dev.lock pyproject.toml
	@rm -f $(STAMP); \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  usable=; bare=; \
	  for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
	    "$$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    if "$$candidate" -c 'import ensurepip' 2>/dev/null; then usable=$$candidate; break; fi; \
	    bare=$${bare:-$$candidate}; \
	  done; \
	  if [ -n "$$usable" ]; then \
	    echo "Creating $(VENV) with $$("$$usable" --version) ($$usable)"; \
	    "$$usable" -m venv --clear $(VENV); \
	  elif [ -n "$$bare" ]; then \
	    version=$$("$$bare" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "error: $$bare has no ensurepip, so it cannot create a virtual environment." >&2; \
	    echo "       On Debian and Ubuntu: apt install python$$version-venv; then run make again." >&2; \
	    exit 1; \
	  else \
	    echo "error: no Python >= 3.11 found (tried: $(or $(PYTHON),$(CANDIDATES)))." >&2; \
	    echo "       Install one, or name it: make install PYTHON=/path/to/python3.13" >&2; \
	    exit 1; \
	  fi; \
	fi
	@echo "Installing the locked dependencies into $(VENV) (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
	@touch $(STAMP)
	@echo "Installed: $(BIN)/hae"

.PHONY: demo
demo: $(STAMP) ## Replay a GPU cluster's trace through the whole engine on the embedded servers
	@$(BIN)/hae demo $(ARGS)

# Two groups at once, as most tests wait for servers most of the time; each starts servers of its own. What the second
# has to say comes when the first is done. ASIDE makes them equally long. With ARGS: one run of what they name.
ASIDE := tests/integration/webhooks tests/integration/node_worker
OUTSIDE := tests/conformance tests/e2e tests/http tests/chaos $(ASIDE)
INSIDE := tests/unit tests/integration $(ASIDE:%=--ignore=%)

.PHONY: test
test: $(STAMP) ## Run the tests on real PostgreSQL and Valkey
ifneq ($(strip $(ARGS)),)
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest -p no:cacheprovider $(OUTSIDE) >.outside.log 2>&1 & outside=$$!; \
	trap 'kill $$outside 2>/dev/null || true' INT TERM; \
	inside=0; $(BIN)/python -m pytest $(INSIDE) || inside=$$?; \
	status=0; wait $$outside || status=$$?; \
	cat .outside.log; rm -f .outside.log; \
	test $$inside -eq 0 && test $$status -eq 0
endif

.PHONY: test-long
test-long: $(STAMP) ## Run the chain's tests at full size, with what takes minutes
	@LONG_TESTS=1 $(BIN)/python -m pytest tests/integration/chain tests/e2e/test_chain_chaos.py $(ARGS)

.PHONY: eliza
eliza: $(STAMP) ## Build plugin-hypernode and run real ElizaOS agents against a real engine (needs npm)
	@LONG_TESTS=1 $(BIN)/python -m pytest tests/e2e/test_eliza.py tests/e2e/test_eliza_package.py $(ARGS)

.PHONY: mcp-conformance
mcp-conformance: $(STAMP) ## Run the Model Context Protocol's own conformance suite (needs npm)
	@LONG_TESTS=1 $(BIN)/python -m pytest tests/conformance/test_mcp.py $(ARGS)

.PHONY: client
client: $(STAMP) ## Make hae_client's models and its sync half anew from the OpenAPI document
	@$(BIN)/python -m app.http.document | $(BIN)/python -m hae_client.generate -

.PHONY: lint
lint: $(STAMP) ## Check style, types, the layers' imports, and that the migrations match the models
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hae migrate check

.PHONY: format
format: $(STAMP) ## Format the code and apply the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The peers of the lifecycle bench, which nothing else needs.
$(VENV)/.bench: $(STAMP) requirements-bench.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r requirements-bench.lock
	@touch $@

.PHONY: chaos
chaos: $(STAMP) ## Run the whole engine under faults: 3 seeds of 1,500 jobs, and check what came of it (ARGS="--seed 7")
	@$(BIN)/hae chaos --seeds 3 --jobs 1500 $(ARGS)

.PHONY: chaos-bugs
chaos-bugs: $(STAMP) ## Plant each known kind of bug: the chaos suite must catch every one
	@LONG_TESTS=1 $(BIN)/python -m pytest tests/chaos/test_bugs.py -v $(ARGS)

.PHONY: bench
bench: $(VENV)/.bench ## Measure matching, claims, jobs, the API, agents, decoding and indexing, against peers where there are any (ARGS=--json)
	@$(BIN)/hae bench match --nodes 10000 $(ARGS)
	@$(BIN)/hae bench match --nodes 100000 $(ARGS)
	@$(BIN)/hae bench match --nodes 1000000 --runs 3 $(ARGS)
	@$(BIN)/hae bench claims $(ARGS)
	@$(BIN)/hae bench place --nodes 10000 $(ARGS)
	@$(BIN)/hae bench heartbeats $(ARGS)
	@$(BIN)/hae bench view $(ARGS)
	@$(BIN)/hae bench lifecycle $(ARGS)
	@$(BIN)/hae bench api $(ARGS)
	@$(BIN)/hae bench agents $(ARGS)
	@$(BIN)/hae bench decode $(ARGS)
	@$(BIN)/hae bench replay $(ARGS)

# uv resolves for every platform and Python at once; only whoever changes the dependencies needs it.
.PHONY: lock
lock: ## Pin the dependencies anew (needs uv; UPGRADE=1 moves to the newest versions)
	@command -v uv >/dev/null || { echo "error: make lock needs uv (pip install uv); installing does not." >&2; exit 1; }
	@set -- --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade); \
	uv pip compile "$$@" pyproject.toml -o requirements.lock; \
	uv pip compile "$$@" pyproject.toml --extra dev -c requirements.lock --no-annotate -o requirements-dev.lock; \
	uv pip compile "$$@" pyproject.toml --extra bench -c requirements.lock --no-annotate -o requirements-bench.lock

.PHONY: clean
clean: ## Remove .venv, caches and build results (data directories stay)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
