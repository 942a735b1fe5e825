# Everything below sets up what it needs first, once: a .venv with the tested versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
SETUP := pyproject.toml constraints.txt
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install train sweep tensorboard notebooks test test-all lint benchmark clean

help:  ## print these targets
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: .venv/dev.stamp  ## set up .venv with everything a developer needs

train: .venv/core.stamp  ## train the LSTM on LFW, or on drawn faces where LFW cannot be had; ARGS="seed=1"
	@data=$$($(BIN)/python -m lfw_seq.data) && $(BIN)/python -m lfw_seq.train model=lstm data=$$data $(ARGS)

sweep: .venv/core.stamp  ## train three cells with three seeds each; ARGS="model=mlp seed=0,1"
	@data=$$($(BIN)/python -m lfw_seq.data) && \
	$(BIN)/python -m lfw_seq.train -m data=$$data $(or $(ARGS),model=lstm$(comma)gru$(comma)rnn seed=0$(comma)1$(comma)2)

tensorboard: .venv/core.stamp  ## look at all runs of outputs and multirun
	@mkdir -p outputs multirun .tensorboard && ln -sfn ../outputs ../multirun .tensorboard/  # of two folders the projector reads none
	$(BIN)/tensorboard --logdir=.tensorboard $(ARGS)

notebooks: .venv/dev.stamp  ## run the notebooks from top to bottom; what they show stays as it is
	$(BIN)/jupyter execute notebooks/*.ipynb

test: .venv/dev.stamp  ## run the tests that take seconds
	$(BIN)/pytest -n auto --dist loadfile -m "not slow" $(ARGS)

test-all: .venv/dev.stamp  ## run all tests
	$(BIN)/pytest $(ARGS)

lint: .venv/dev.stamp  ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

benchmark: .venv/core.stamp  ## time an epoch beside a bare PyTorch loop; WHAT=start, data, predict, sweep or scale
	$(BIN)/python -m lfw_seq.benchmark what=$(or $(WHAT),epoch) $(ARGS)

clean:  ## remove the set-up and caches; runs stay
	rm -rf .venv .tensorboard build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/core.stamp: $(SETUP)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev.stamp: $(SETUP)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ .venv/core.stamp

comma := ,
