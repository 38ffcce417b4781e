# Every target makes the environment it needs. `make serve` and `make test` are the two that matter.
PYTHON ?= python3
ARGS ?=
# Test processes. A file's tests stay together, since they share what was exported for them. Those of slow tests come
# first: see tests/conftest.py.
JOBS ?= 2

SERVE := .venv
DEV := .venv-dev
BENCH := build/bench-venv
# Where `make sources` puts the public data, and where what is made of it goes.
SOURCES ?= build/sources
BUILD := build
# What generates stubs, apart from the rest: whoever needs the stubs of another language needs nothing more.
PROTOS := .venv-protos
STUBS := client/archroute/v1 client/node/src/stubs

.DEFAULT_GOAL := help
.PHONY: help serve test soak lint format protos check-protos toolchains conformance docs graphs bench bench-peers sources \
	examples adapter evaluate clean

help: ## Say what each target does
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

serve: $(SERVE)/.installed ## Start a server with the embedded model and examples/policies.yaml (ARGS="--listen ...")
	$(SERVE)/bin/archroute serve --policies examples/policies.yaml $(ARGS)

test: $(DEV)/.installed ## Run every test (ARGS="-k trie" for a few)
	$(DEV)/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(DEV)/.installed ## Run tests/soak for hours instead of seconds (ARGS="-k load" for a part)
	SOAK=long $(DEV)/bin/python -m pytest tests/soak $(ARGS)

lint: $(DEV)/.installed ## Check style, types, import directions, and the protos
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports
	$(DEV)/bin/buf lint
	$(MAKE) check-protos

format: $(DEV)/.installed ## Rewrite the code in the project's style
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

protos: $(PROTOS)/.installed ## Generate the stubs of every language whose tools are there; only some are checked in
	@for language in python node go java cpp; do protos/generate/generate.sh $(PROTOS) $$language || exit 1; done

check-protos: protos ## Fail if the checked-in stubs are not what the protos give
	@git diff --exit-code --stat -- $(STUBS) && test -z "$$(git ls-files --others --exclude-standard -- $(STUBS))" \
		|| { echo "The stubs differ from the protos: run 'make protos' and commit $(STUBS)."; exit 1; }

toolchains: ## Install what builds the examples in C++, Go and Java, on Debian or Ubuntu, as root
	apt-get update --quiet=2
	grep -v '^#' .ci/apt-packages.txt | DEBIAN_FRONTEND=noninteractive xargs apt-get install --quiet=2 --no-install-recommends

conformance: $(DEV)/.installed protos ## Make the same calls from every language that is there, and print how they ended
	$(DEV)/bin/python -m pytest tests/conformance $(ARGS)

docs: $(DEV)/.installed ## Write the generated tables of README.md
	cd tests && ../$(DEV)/bin/python -m support.readme_tables

graphs: $(DEV)/.installed ## Write the ONNX graphs that copy KV caches on a GPU
	cd tests && ../$(DEV)/bin/python -m support.cache_graphs

bench: $(DEV)/.installed ## Measure tokenizing, the trie, and a decision
	$(DEV)/bin/python -m pytest bench --benchmark-only $(ARGS)

# Its own environment, since the peers and their converters are large. What is not installed in it is skipped.
bench-peers: $(BENCH)/.installed ## Compare with other ways to decide, and write bench/RESULTS.md (ARGS="--shapes 1.5b")
	PYTHONPATH=bench $(BENCH)/bin/python -m peers $(ARGS)

# The embedded model, from its data to its figures. MODEL_CARD.md says what each step gave.
sources: $(DEV)/.installed ## Fetch the public data that the embedded model is trained on
	$(DEV)/bin/archroute examples fetch --output $(SOURCES)

examples: $(DEV)/.installed ## Build the examples that the embedded model is trained and tested on
	$(DEV)/bin/archroute examples build --output $(BUILD)/examples --requests data/gateway \
		--requests data/topics --requests data/services --clinc150 $(SOURCES)/clinc150 --sgd $(SOURCES)/sgd --seed 0

adapter: $(DEV)/.installed ## Train the embedded model's adapter; an interrupted run is gone on with
	$(DEV)/bin/archroute finetune --base embedded --data $(BUILD)/examples/train.jsonl \
		--validation $(BUILD)/examples/validation.jsonl --output $(BUILD)/adapter --minutes 90 $(ARGS)

evaluate: $(DEV)/.installed ## Measure the embedded model on policies that it was not trained on
	for name in gateway clinc150 sgd; do \
		$(DEV)/bin/archroute eval $(BUILD)/examples/test-$$name.jsonl $(ARGS) --json $(BUILD)/$$name.json \
			--html $(BUILD)/$$name.html || exit 1; done

clean: ## Remove the environments and caches
	rm -rf $(SERVE) $(DEV) $(PROTOS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks

$(SERVE)/.installed: pyproject.toml
	@echo "Installing what the server needs into $(SERVE); this takes a minute or two."
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/python -m pip install --quiet -e '.[server,export,eval]'
	@touch $@

$(PROTOS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PROTOS)
	$(PROTOS)/bin/python -m pip install --quiet -e '.[protos]'
	@touch $@

# torch first and pinned: asked for by another package, pip takes its newest build instead.
$(DEV)/.installed: pyproject.toml
	@echo "Installing what development needs into $(DEV), PyTorch among it; this takes some minutes."
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet torch==2.13.0
	$(DEV)/bin/python -m pip install --quiet -e '.[server,otel,export,eval,train,optimum,openai,redis,dev]'
	@touch $@

$(BENCH)/.installed: pyproject.toml
	@echo "Installing the peers into $(BENCH); this takes some minutes, and a C++ compiler for llama.cpp."
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet torch==2.13.0
	$(BENCH)/bin/python -m pip install --quiet -e '.[server,export,eval,bench]'
	@touch $@
