# The four words a newcomer needs: setup, train, test, check; bench measures speed, docs builds the site.
# make train ARGS="objective=minimax seed=3" passes Hydra overrides on.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup train test check bench docs lock
.DEFAULT_GOAL := help

help:
	@echo "make setup   a virtual environment in $(VENV), exactly as requirements.lock says"
	@echo "make train   train the default GAN;  make train ARGS=\"objective=minimax seed=3\""
	@echo "make test    run the tests;          make test ARGS=\"-k hinge\""
	@echo "make check   formatter, linter and type checker, changing nothing"
	@echo "make docs    build the documentation as a site, in build/site"
	@echo "make bench   measure the speed, and write docs/performance.md; an hour on a quiet machine"

setup: $(READY)

# uv verifies every hash of the lock; bytecode is compiled once here, which makes each later start twice as fast
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; try make setup PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --require-hashes --compile-bytecode -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --no-deps --editable .
	@touch $@

train: $(READY)
	@$(BIN)/saddlepoint train $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(READY)
	@$(BIN)/python benchmarks/report.py $(ARGS)

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

# after a change of the dependencies in pyproject.toml
lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock
