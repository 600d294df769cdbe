# Pocketprune: `make demo` runs the main job, `make test` checks everything. Both create .venv by themselves.
#
#   make PYTHON=/path/to/python3.12 ...   use this interpreter for .venv
#   make test WORKERS=4                   more test processes (default 2)
#   make bench ONLY="bare_loop"           some of the benchmarks

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
ONLY ?=

.PHONY: help install demo test lint bench clean python

help:
	@sed -n 's/^# \{0,1\}//p;/^SHELL/q' Makefile
	@echo "Targets: install demo test lint bench clean"

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/pocketprune run examples/demo.yaml

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

clean:  # .venv (minutes to build) and runs/ (results) stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -path ./runs -prune -o -type d -name __pycache__ -exec rm -rf {} +

# The stamps make a second `make` instant, and a changed pyproject.toml installs again.
$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo "Installing Pocketprune into $(VENV) (the first time: some minutes and 7 GB)"
	$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/pip
	@echo "Installing Pocketprune and its test tools into $(VENV) (the first time: some minutes and 7 GB)"
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.installed

# venv writes pip last, so a creation that was interrupted starts afresh.
$(BIN)/pip:
	@python=$$(bash -c "$$FIND_PYTHON") && echo "Creating $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)

python:  # which one that would be
	@bash -c "$$FIND_PYTHON"

# Prints the first Python that can install everything: 3.12 or 3.13 (onnx2tf needs 3.12 and pins numpy 2.2.6, which
# together with coremltools 9.0 ends at 3.13). Each candidate is run, since a name on PATH proves nothing: pyenv puts
# shims there for versions that are not active.
define FIND_PYTHON
tried=""
names=$${PYTHON:-python3.12 python3.13 python3 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[23].*/bin/python3}
for name in $$names; do type -aP "$$name" >/dev/null || tried+="  $$name: not found"$$'\n'; done
for path in $$(type -aP $$names); do
  version=$$("$$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=""
  case "$$version" in
    3.12|3.13)
      if "$$path" -c 'import ensurepip, venv' 2>/dev/null; then echo "$$path"; exit 0; fi
      tried+="  $$path: Python $$version without venv (Debian and Ubuntu: apt-get install python$$version-venv)"$$'\n' ;;
    "") tried+="  $$path: does not start"$$'\n' ;;
    *) tried+="  $$path: is Python $$version"$$'\n' ;;
  esac
done
{
  echo "Pocketprune needs Python 3.12 or 3.13 with its venv module, and found none. Tried:"
  printf '%s' "$$tried"
  echo "Install one (Debian 13, Ubuntu 24.04: apt-get install python3 python3-venv; macOS: brew install python@3.12;"
  echo "pyenv: pyenv install 3.12), or name one: make PYTHON=/path/to/python3.12"
} >&2
exit 1
endef
export FIND_PYTHON
export PYTHON
