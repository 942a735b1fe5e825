# Everything below sets up what it needs first, once: a .venv with the tested versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip
VERSION := -c 'import sys; print("Python %d.%d" % sys.version_info[:2])'
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
WORKS := $(BIN)/python -c 'from importlib.metadata import version; version("pip")' 2>/dev/null && $(BIN)/python $(NEW_ENOUGH)

.DEFAULT_GOAL := help
.PHONY: help install train sweep tensorboard notebooks test test-all test-extras lint benchmark clean

help:  ## print these targets
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: .venv/dev.stamp  ## set up .venv with everything a developer needs

train: .venv/core.stamp  ## train the LSTM on LFW, or on drawn faces where LFW cannot be had; ARGS="seed=1"
	$(BIN)/python -m lfw_seq.train substitute_data=true $(ARGS)

sweep: ARGS ?= model=lstm,gru,rnn seed=0,1,2
sweep: .venv/core.stamp  ## train three cells with three seeds each; ARGS="model=mlp seed=0,1"
	$(BIN)/python -m lfw_seq.train -m substitute_data=true $(ARGS)

tensorboard: .venv/core.stamp  ## look at all runs of outputs and multirun
	@mkdir -p outputs multirun .tensorboard && ln -sfn ../outputs ../multirun .tensorboard/  # of two folders the projector reads none
	$(BIN)/python -m tensorboard.main --logdir=.tensorboard $(ARGS)

notebooks: .venv/dev.stamp  ## run the notebooks from top to bottom; what they show stays as it is
	$(BIN)/jupyter execute notebooks/*.ipynb

test: .venv/dev.stamp  ## run the tests that take seconds
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" $(ARGS)

test-all: .venv/dev.stamp  ## run all tests
	$(BIN)/python -m pytest $(ARGS)

test-extras: .venv/dev.stamp  ## install each extra alone into an environment of its own, and use it; ARGS="-k ray"
	$(BIN)/python -m pytest tests/extras.py $(ARGS)

lint: .venv/dev.stamp  ## check format, style and types
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

benchmark: .venv/core.stamp  ## time an epoch beside a bare PyTorch loop; WHAT=start, predict or sweep
	$(BIN)/python -m lfw_seq.benchmark what=$(or $(WHAT),epoch) $(ARGS)

clean:  ## remove the set-up and caches; runs stay
	rm -rf .venv .tensorboard build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/dev.stamp: EXTRAS := [dev]
.venv/core.stamp .venv/dev.stamp: pyproject.toml constraints.txt
	@$(WORKS) || $(BIN)/python -m ensurepip >/dev/null 2>&1 && $(WORKS) || { $(PYTHON) $(NEW_ENOUGH) || \
	{ echo "PYTHON=$(PYTHON) is $$($(PYTHON) $(VERSION) 2>/dev/null || echo missing); Python 3.11 or newer is needed:" \
	"make PYTHON=python3.12"; exit 2; }; echo "Setting up .venv, which takes minutes"; $(PYTHON) -m venv --clear .venv; }
	@$(PIP) show -q torch 2>/dev/null || [ "$$(uname -sm)" != "Linux x86_64" ] || echo "PyTorch: about to download" \
	"its CUDA build, 5 GB, unless your pip finds another; for the CPU build stop here (Ctrl-C), install" \
	"torch==$$(sed -n s/^torch==//p constraints.txt) for CPU into .venv as pytorch.org tells, and start again"
	$(PIP) install -q --disable-pip-version-check -c constraints.txt -e ".$(EXTRAS)"
	@touch $@ .venv/core.stamp

ifneq ($(wildcard .venv),)
ifneq ($(shell $(WORKS) || echo broken),)
$(shell rm -f .venv/*.stamp)
else ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) $(VERSION)),$(shell $(BIN)/python $(VERSION)))
$(info PYTHON=$(PYTHON) is not used: .venv has $(shell $(BIN)/python $(VERSION)); make clean removes it)
endif
endif
endif
