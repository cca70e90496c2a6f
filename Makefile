# The two commands: `make demo` shows the main job, `make test` proves all of it. Both work on a fresh clone.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help demo demo-down test lint unit integration e2e agents presets vllm alerts argocd bench fuzz soak crash plugin crds chart lock clean

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(BIN)/.ready  ## a cluster, the operator, a real model, one agent run (make demo VLLM=1 adds vLLM)
	@hack/demo

demo-down:  ## remove everything that demo made, and check that nothing is left
	@hack/demo-down

test: $(BIN)/.ready  ## lint, types, imports, unit, integration and end-to-end tests
	@hack/test

lint: $(BIN)/.ready  ## ruff, mypy, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

unit: $(BIN)/.ready  ## tests that need nothing but Python
	@$(BIN)/python -m pytest -q tests/unit

integration: $(BIN)/.ready  ## tests on a real kube-apiserver
	@$(BIN)/python -m pytest -q tests/integration

e2e: $(BIN)/.ready  ## tests on a real node, installed by the demo's own steps
	@$(BIN)/python -m pytest -q tests/e2e

agents: $(BIN)/.ready  ## six agents of others, as their presets start them, through the gateway, also to a real Ollama; npm and pip install them, 2.2 GB, once
	@$(BIN)/python -m pytest -q tests/agents --ignore=tests/agents/test_on_vllm.py

presets: $(BIN)/.ready  ## the same agents in pods on a real node, each in an image of its own; 5 GB of disk
	@$(BIN)/python -m pytest -q tests/presets

vllm: $(BIN)/.ready  ## OpenAI's and Anthropic's clients, Claude Code and Codex through the gateway to a real vLLM; pip installs it, 3 GB, once
	@$(BIN)/python -m pytest -q tests/agents/test_on_vllm.py

alerts: $(BIN)/.ready  ## the alert rules, each just under its bound and at it, and each query of the dashboard on a real Prometheus, which is built once, 6 minutes
	@$(BIN)/python -m pytest -q tests/alerts

argocd: $(BIN)/.ready  ## runs and lanes in Git, with a real Argo CD on a real kube-apiserver; builds it once, 4 minutes
	@$(BIN)/python -m pytest -q tests/argocd

bench: $(BIN)/.ready  ## how fast it is, against targets and the Job controller (FULL=1: full sizes; ONLY="P1 P3"; RECORD=1: into docs/performance.md)
	@hack/bench $(if $(FULL),--full) $(if $(ONLY),--only $(ONLY)) $(if $(RECORD),--record)

fuzz: $(BIN)/.ready  ## the fuzz tests with many more examples than make test tries (FACTOR=50)
	@hack/fuzz

soak: $(BIN)/.ready  ## very many calls with faults and kills, then the ledger against what clients saw (CALLS=30000; KILLS=4; SECONDS=3600; SEED=1; RECORD=1: into docs/reliability.md)
	@hack/soak $(if $(CALLS),--calls $(CALLS)) $(if $(KILLS),--kills $(KILLS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(RECORD),--record)

crash: $(BIN)/.ready  ## the operator killed after each of its writes, and faults of the API server (SECONDS=7200; SEED=1; ATONCE=2; RECORD=1: into docs/reliability.md)
	@hack/crash $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(ATONCE),--at-once $(ATONCE)) $(if $(RECORD),--record)

plugin: $(BIN)/.ready  ## kubectl laneway as one file for this machine: dist/kubectl-laneway (VERSION=v0.1.0: for all platforms, with Krew's manifest)
	@$(BIN)/python hack/plugin $(if $(VERSION),--release $(VERSION)) $(if $(URI),--uri '$(URI)')

crds: $(BIN)/.ready  ## write crds/ and the chart's copy from operator/laneway/api, and deploy/install.yaml
	@$(BIN)/laneway crds && $(BIN)/python hack/chart

chart: $(BIN)/.ready  ## write the chart's table of values and schema descriptions, and deploy/install.yaml, from the chart
	@$(BIN)/python hack/chart

lock: $(BIN)/.ready  ## resolve the dependencies anew
	@$(BIN)/pip install -q uv
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --group dev pyproject.toml -o requirements-dev.lock

clean:  ## remove the virtual environment and caches of the tree
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Laneway needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "python dependencies (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@
