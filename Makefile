# `make run` does the main job on a fresh machine; `make test` proves the rest. `make help` lists all.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: help run engines local test lint format typecheck layers unit test-slow bench bench-cloud tools prism lock spark-jars bench-streaming clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: .venv/.run ## generate ten million sales into ./demo_lake (ARGS="…" for other flags)
	$(BIN)/python -m pipelines.batch --runner DirectRunner --output demo_lake --if_exists overwrite $(ARGS)

engines: .venv/.engines ## install pandas, Dask, Spark, Polars, DuckDB and what the report needs

local: .venv/.local ## install what `celes-beam local` needs

test: lint typecheck layers unit ## everything a change must pass

lint: .venv/.dev ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.dev ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/.dev ## types
	$(BIN)/mypy

layers: .venv/.dev ## imports go one way
	$(BIN)/lint-imports

unit: .venv/.dev ## the tests, but for those marked slow
	$(BIN)/python -m pytest -m "not slow and not image and not infra"

test-slow: .venv/.dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

bench: .venv-bench/.done ## measure against the peers; writes docs/benchmarks.md
	.venv-bench/bin/python -m benchmarks --write $(ARGS)

bench-cloud: .venv/.dev ## measure a run into the local Cloud Storage and BigQuery
	$(BIN)/python -m benchmarks --only cloud $(ARGS)

bench-streaming: .venv/.dev ## measure a stream into the local BigQuery
	$(BIN)/python -m benchmarks --only streaming $(ARGS)

tools: prism .tools/bin/fake-gcs-server ## build what some tests run against (needs Go)

spark-jars: .tools/jars/gcs-connector-3.1.9-shaded.jar ## fetch what Spark needs for gs:// (needs Maven)

.tools/jars/gcs-connector-3.1.9-shaded.jar:
	mvn --batch-mode --quiet dependency:copy -DoutputDirectory=$(CURDIR)/.tools/jars \
	  -Dartifact=com.google.cloud.bigdataoss:gcs-connector:3.1.9:jar:shaded

prism: .tools/bin/prism ## build Beam's Prism runner (needs Go)

.tools/bin/prism:
	GOBIN=$(CURDIR)/.tools/bin go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0

.tools/bin/fake-gcs-server:
	GOBIN=$(CURDIR)/.tools/bin go install github.com/fsouza/fake-gcs-server@v1.56.1

lock: .venv/.dev ## choose new versions of the dependencies, with hashes
	for kind in run dev bench local engines; do \
	  $(BIN)/uv pip compile pyproject.toml requirements/build.in \
	    $$([ $$kind = run ] || echo --extra $$kind) \
	    $$([ $$kind != bench ] || echo requirements/bench.in) --universal --python-version 3.11 \
	    --generate-hashes --no-emit-package celes-beam --upgrade --quiet \
	    --custom-compile-command "make lock" -o requirements/$$kind.txt || exit 1; \
	done

clean: ## remove what make made
	rm -rf .venv .venv-bench .tools build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is too old: Python 3.11 or newer is needed; name one with make PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.run: requirements/run.txt pyproject.toml | .venv/bin/python
	@echo "Installing the locked dependencies into .venv, once; about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.local: requirements/local.txt .venv/.run
	@echo "Installing the local Cloud Storage and BigQuery into .venv, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/local.txt
	@touch $@

.venv/.engines: requirements/engines.txt .venv/.run
	@echo "Installing the engines to compare with into .venv, once; Spark is large"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/engines.txt
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.run
	@echo "Installing what the tests need into .venv, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

# Apart from .venv: the peers are measured in a newer DuckDB than the local BigQuery takes.
.venv-bench/.done: requirements/bench.txt pyproject.toml | .venv/bin/python
	@echo "Installing what the benchmarks need into .venv-bench, once"
	@$(BIN)/python -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/bench.txt
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
