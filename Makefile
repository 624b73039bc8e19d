# Everything a user or CI calls. Each target makes what it needs: a machine with git, make and Python is enough.
.DELETE_ON_ERROR:  # so that a full disk leaves no half-written file

PYTHON ?= python3
UV := $(shell command -v uv || echo .uv/bin/uv)
LANDMARK_HOME ?= home/demo
BROWSER := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
POSTGRESQL := $(shell command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)
ABSENT := $(if $(BROWSER),, and not browser)$(if $(POSTGRESQL),, and not postgresql)

.PHONY: demo dev test lint slow faults audit constraints

demo: .venv/installed
	.venv/bin/landmark-dag demo --home $(LANDMARK_HOME)

dev: .venv/installed $(LANDMARK_HOME)/dagster/dagster.yaml
	LANDMARK_HOME=$(abspath $(LANDMARK_HOME)) DAGSTER_HOME=$(abspath $(LANDMARK_HOME))/dagster \
		.venv/bin/dg dev -w workspace.yaml --host 127.0.0.1

$(LANDMARK_HOME)/dagster/dagster.yaml:
	mkdir -p $(@D)
	cp landmark_dag/orchestration/dagster.yaml $@

test: lint
	$(if $(BROWSER),,@echo "No Chromium on this machine: the tests of pages in a browser are NOT run; install chromium to run them.")
	$(if $(POSTGRESQL),,@echo "No PostgreSQL on this machine: the tests of an instance on it are NOT run; install postgresql to run them.")
	.venv/bin/pytest -q -n 2 --dist loadfile -m "not slow$(ABSENT)"

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

slow: .venv/installed
	.venv/bin/pytest -q -m "slow$(ABSENT)"
	.venv/bin/pytest -q -m "hypothesis and not slow$(ABSENT)" --hypothesis-profile fresh

faults: .venv/installed
	.venv/bin/python -m tests.faults

audit: .venv/installed
	.venv/bin/python -m tools.audit

.venv/installed: pyproject.toml constraints.txt
	command -v uv >/dev/null || test -x .uv/bin/uv || ($(PYTHON) -m venv .uv && .uv/bin/pip install -q uv==0.13.9)
	$(UV) venv --quiet --clear --python ">=3.11" .venv
	$(UV) pip install --quiet --compile-bytecode --python .venv --constraints constraints.txt --editable . --group dev
	touch $@

constraints:
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --group dev --group bench \
		--output-file constraints.txt pyproject.toml
