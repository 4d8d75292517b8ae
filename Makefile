# Chiasm's commands. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
BUF := npx --yes @bufbuild/buf@1.75.0
PROTOS := $(wildcard protos/chiasm/v1/*.proto)
LOCK := requirements/cpu.txt
UV := $(VENV)-uv/bin/uv
# Tests whose processes take all cores by themselves.
HEAVY := tests/integration tests/paligemma
SOURCES := chiasm services models evals tests bench scripts

# Where pip has to be told of PyTorch's CPU builds: make install TORCH_INDEX=address
TORCH_INDEX ?=
export TORCH_INDEX

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## install everything into .venv, for a CPU

$(STAMP): $(LOCK) pyproject.toml scripts/install.sh
	@PYTHON="$(PYTHON)" sh scripts/install.sh $(VENV) $(LOCK)
	@touch $@

.PHONY: demo
demo: $(STAMP) ## start the stack, ask about a sample picture, stop the stack
	@$(BIN)/python -m scripts.demo

.PHONY: up
up: $(STAMP) ## start the stack and keep it running until Ctrl-C
	@$(BIN)/chiasm up

.PHONY: test
test: $(STAMP) ## run all tests (under 15 minutes on 2 cores)
	$(BIN)/python -m pytest -q -n 2 $(addprefix --ignore=,$(HEAVY)) $(ARGS)
	$(BIN)/python -m pytest -q $(HEAVY) $(ARGS)

.PHONY: shows
shows: $(STAMP) ## run the demonstrations of one service: make shows ONLY=paligemma
	@$(BIN)/python -m tests.shows $(ONLY)

.PHONY: bench
bench: $(STAMP) ## run the side-by-side benchmarks and keep what they print in bench/results
	@$(BIN)/python -m bench

.PHONY: lint
lint: $(STAMP) ## check style, the contract, and that generated code is what the contract says
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/python -m scripts.protos --check
	@sh scripts/buf.sh "$(BUF)"

.PHONY: format
format: $(STAMP) ## put the code into its one style
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

.PHONY: protos
protos: $(STAMP) ## generate chiasm/v1 from protos/
	$(BIN)/python -m scripts.protos

.PHONY: parity
parity: $(STAMP) ## compare the served PaliGemma with transformers, token for token, and vLLM's own beside it
	@$(BIN)/python -m tests.paligemma.parity

.PHONY: eval
eval: $(STAMP) ## measure the served tiny models, and write reports to runs/evals
	@$(BIN)/python -m evals

.PHONY: train
train: $(STAMP) ## train the tiny models from scratch, one after the other (hours; resumes)
	nice -n 10 $(BIN)/python -m models.training.tiny_siglip --work runs/tiny-siglip
	nice -n 10 $(BIN)/python -m models.training.tiny_paligemma --work runs/tiny-paligemma
	nice -n 10 $(BIN)/python -m models.training.tiny_colpali --work runs/tiny-colpali

.PHONY: lock
lock: $(UV) ## resolve requirements/cpu.in into requirements/cpu.txt
	$(UV) pip compile --universal --python-version 3.11 --no-annotate --no-header \
		--override requirements/without.txt $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) requirements/cpu.in \
		| grep -vE "nvidia|cuda|sys_platform == '(win32|emscripten)'|^torch==[0-9.]+ ;" > $(LOCK).new
	mv $(LOCK).new $(LOCK)

$(UV):
	$(PYTHON) -m venv $(VENV)-uv
	$(VENV)-uv/bin/pip install -q uv

.PHONY: clean
clean: ## remove what installing and running made
	rm -rf $(VENV) $(VENV)-uv .chiasm .pytest_cache .ruff_cache .hypothesis *.egg-info
