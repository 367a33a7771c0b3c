# The front door. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(sort $(shell find proto/answermesh -name '*.proto'))
PROTOC := $(BIN)/python -m grpc_tools.protoc -I proto

.PHONY: help setup demo test test-clients check lint types imports proto-check breaking generate pins clean evaluation \
  bench-fanout bench-answers bench-overload bench-cancel bench-search bench-import bench-gateway \
  soak-gateway chaos drill rolling leaks fuzz fuzz-http

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.done ## Make the environment in .venv

$(VENV)/.done: requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --version >/dev/null
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

generate: setup ## Write both stub families anew from proto/
	rm -rf generated && mkdir -p generated/answermesh/typed
	$(PROTOC) --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	  --python_out=generated --grpc_python_out=generated --mypy_out=quiet:generated --mypy_grpc_out=quiet:generated $(PROTOS)
	PATH=$(abspath $(BIN)):$$PATH $(PROTOC) --python_betterproto_opt=typing.310 --python_betterproto_out=generated/answermesh/typed $(PROTOS)
	rm -rf generated/answermesh/typed/google/api
	$(PROTOC) --include_imports --include_source_info --descriptor_set_out=generated/answermesh/v1/answermesh.binpb $(PROTOS)

pins: setup ## Resolve the dependencies anew into the requirements files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --group dev --all-extras pyproject.toml -o requirements-dev.txt

demo: setup ## Start a mesh, import sample documents, ask two questions, stop
	$(BIN)/answermesh demo

test: setup ## Run the tests
	$(BIN)/pytest -q

test-clients: setup ## Hold clients of other makers against the gateway: Node's, curl, a browser; none may be missing
	CLIENTS=required $(BIN)/pytest -q tests/clients

bench-fanout: setup ## Fan-out to five agents through the public API, beside raw grpc.aio in the same run
	$(BIN)/python -m bench.fanout --svg docs/fanout.svg

bench-answers: setup ## Answers a second over the sample documents, time to the first text, CPU and memory
	$(BIN)/python -m bench.answers

bench-overload: setup ## Ten times more questions than the agents can answer: goodput, deadlines, recovery
	$(BIN)/python -m bench.overload

bench-cancel: setup ## How soon the language model's connection is closed when a reader hangs up, 200 times
	$(BIN)/python -m bench.cancel

bench-gateway: setup ## CPU and requests per second of the gateway (needs wrk)
	$(BIN)/python -m bench.gateway.cost

MINUTES ?= 10
soak-gateway: setup ## Load and faults before the gateway for MINUTES (default 10)
	$(BIN)/python -m bench.gateway.soak --minutes $(MINUTES)

chaos: setup ## Kill, stop and cut a mesh in use for MINUTES (default 10), and check all that was seen; SEED=N again
	$(BIN)/python -m bench.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

KILLS ?= 200
drill: setup ## Kill the owner of an answer KILLS times (default 200), stop it as often; then Postgres and authors
	$(BIN)/python -m bench.chaos.drill --kills $(KILLS) --how kill
	$(BIN)/python -m bench.chaos.drill --kills $(KILLS) --how stop
	$(BIN)/python -m bench.chaos.drill --kills 40 --whom postgres
	$(BIN)/python -m bench.chaos.drill --kills 40 --whom author --authors 2 --readers 4
	$(BIN)/python -m bench.chaos.drill --kills 40 --whom author --authors 2 --readers 4 --how stop

rolling: setup ## Replace every service of a mesh that is in use, without a failed answer
	$(BIN)/python -m bench.chaos.rolling
	$(BIN)/python -m bench.chaos.rolling --orchestrators 1

leaks: setup ## What 100k queries and 60k streams that their readers left leave behind
	$(BIN)/python -m bench.leaks

PASSAGES ?= 1000 10000 100000
bench-search: setup ## How long a search takes as the corpus grows (PASSAGES="1000 10000")
	$(BIN)/python -m bench.search --passages $(PASSAGES)

bench-import: setup ## An import's rate beside that of the embedder alone (DOCUMENTS=FOLDER)
	$(BIN)/python -m bench.ingest $(if $(DOCUMENTS),--documents $(DOCUMENTS))

evaluation: setup ## Measure everything over the sets in DATA and write docs/evaluation.md (LIMIT=N items a set, MINUTES=N, RESUME=RUN)
	$(BIN)/answermesh eval all --data $(DATA) $(if $(LIMIT),--limit $(LIMIT)) $(if $(filter file,$(origin MINUTES)),,--minutes $(MINUTES)) $(if $(RESUME),--resume $(RESUME))
	$(BIN)/answermesh eval report last --output docs/evaluation.md --about docs/evaluation/about.md

fuzz: setup ## Broken HTTP/2 answers by the hundred thousand (FUZZ_CASES, FUZZ_SEED)
	FUZZ_CASES=$${FUZZ_CASES:-200000} $(BIN)/pytest -q --timeout 3600 tests/unit/test_http2_fuzz.py

fuzz-http: setup ## Send the gateway broken requests for some minutes; FUZZ_SEED=N for other ones
	FUZZ_ROUNDS=$(or $(FUZZ_ROUNDS),20) $(BIN)/pytest -q tests/http

.PHONY: calibrate train-reader
DATA ?= $(ANSWERMESH_EVAL_DATA)
calibrate: setup ## Fit the weights of checking and reading anew (DATA=folder of the sets)
	$(BIN)/python -m bench.calibrate --data $(DATA) --write
	$(BIN)/python -m bench.calibrate_reading --data $(DATA) --write

train-reader: setup ## Train the reader anew, in half an hour (DATA=folder of the sets); installs PyTorch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 onnx==1.23.2
	PYTHONPATH=services:generated:. $(BIN)/python -m bench.reader.train --data $(DATA)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

proto-check: generate
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code --exclude-path proto/google
	git diff --exit-code -- generated
	test -z "$$(git status --porcelain -- generated)"

AGAINST ?= main
breaking: setup ## Whether the contract breaks callers of AGAINST, a branch or tag (default main)
	$(BIN)/buf breaking --against '.git#branch=$(AGAINST)'

check: lint types imports proto-check ## Lint, types, import floors, protos, stubs up to date

clean: ## Remove the environment and what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
