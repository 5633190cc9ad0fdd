# What a person types. Environments are made once, and again when their lock file changes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_INSTALL = bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
# An existing lock's pins are kept where they still fit.
LOCK = .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

# Two environments are made at a time.
MAKEFLAGS += --jobs=2
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint label-studio lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv-demo/installed .venv-label-studio/installed  ## Label Studio, the backend and drawn contracts with their boxes
	@exec .venv-demo/bin/python -m backend demo $(ARGS)

# Three processes on two cores, each with one thread: much of the time is spent waiting for servers and starts. Python
# keeps what it compiled, whatever the environment says: the tests start hundreds of processes.
test: .venv/installed .venv-label-studio/installed  ## all tests, those against a real Label Studio among them
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

lint: .venv/installed  ## style, formatting and types; the image and its services
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/hadolint Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

label-studio: .venv-label-studio/installed  ## Label Studio, in an environment of its own

lock: .venv/installed  ## pin all dependencies again; UPGRADE=--upgrade takes newer ones
	$(LOCK) $(UPGRADE) pyproject.toml --all-extras -o requirements.txt
	$(LOCK) $(UPGRADE) pyproject.toml -c requirements.txt -o requirements/serve.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra train -c requirements.txt -o requirements/train.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra synthetic -c requirements.txt -o requirements/demo.txt
	$(LOCK) $(UPGRADE) requirements/label-studio.in -o requirements/label-studio.txt

clean:  ## removes the environments and what the demo made
	rm -rf .venv .venv-demo .venv-label-studio .demo out

.venv/installed: requirements.txt
.venv-demo/installed: requirements/demo.txt
.venv-label-studio/installed: requirements/label-studio.txt

# $(@D) is the environment, $< its lock.
.venv/installed .venv-demo/installed .venv-label-studio/installed:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "  … installing $< into $(@D), once"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/$(PIP_INSTALL) --requirement $<
	@touch $@
