# `make run` does the main job on a fresh machine; `make test` proves the rest. `make help` lists all.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: help run engines local test lint format typecheck layers unit test-slow bench bench-cloud tools prism flink lock spark-jars bench-streaming bench-scale soak test-image infra-test infra-tools infra-schema check-image sbom audit template template-metadata clean

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
	$(BIN)/python -m pytest -m "not slow and not image and not infra" -n 3 --no-loadscope-reorder --durations 20

test-image: .venv/.dev ## build the image and run DoFns in it (needs root, Docker or buildah, mmdebstrap, Go)
	tools/image_parts.sh
	$(BIN)/python -m pytest -m image

infra-test: .venv/.dev infra-tools ## check infra/ with Terraform (needs Go, and terraform)
	$(BIN)/python -m pytest -m infra

infra-tools: .venv-tools/.done .tools/terraform/.done ## build what stands in for Google's Terraform providers

.tools/terraform/.done: $(wildcard tests/infra/provider/*.go tests/infra/provider/go.* tests/infra/provider/schema/*.json)
	for name in google google-beta; do \
	  folder=$(CURDIR)/.tools/terraform/registry.terraform.io/hashicorp/$$name/8.7.0/$$(go env GOOS)_$$(go env GOARCH); \
	  mkdir -p $$folder && go -C tests/infra/provider build -trimpath -o $$folder/terraform-provider-$${name}_v8.7.0 . \
	    || exit 1; \
	done
	@touch $@

infra-schema: .venv/.dev ## write infra/bigquery from the contract
	$(BIN)/python -m celes_beam.stores.warehouse.terraform_files infra/bigquery

check-image: .venv-tools/.done ## style of Dockerfile.flex; secrets in the repository
	.venv-tools/bin/hadolint Dockerfile.flex
	git ls-files -z | xargs -0 .venv-tools/bin/detect-secrets-hook --baseline .secrets.baseline

sbom: .venv/.run .venv-tools/.done ## the packages of the image and their licences, in build/
	mkdir -p build
	.venv-tools/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
	  --validate --of JSON -o build/sbom.json requirements/run.txt
	.venv-tools/bin/pip-licenses --python $(BIN)/python --from=mixed --format=markdown --with-system \
	  --partial-match --fail-on "GPL;GNU General Public" --output-file build/licences.md \
	  --packages $$(grep -oE '^[a-z0-9._-]+==' requirements/run.txt | tr -d =)

audit: .venv-tools/.done ## known vulnerabilities of the locked packages (asks PyPI)
	.venv-tools/bin/pip-audit --strict --require-hashes --disable-pip -r requirements/run.txt

template: .venv/.run ## write the Flex Templates' specs (IMAGE=…, TO=gs://…/templates/VERSION or a folder)
	$(BIN)/celes-beam deploy template all --image "$(IMAGE)" \
	  $(if $(filter gs://%,$(TO)),--to,--folder) "$(TO)"

template-metadata: .venv/.run ## derive templates/*.json from the flags of the pipelines
	$(BIN)/celes-beam deploy metadata

test-slow: .venv/.dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

bench: .venv-bench/.done ## measure against the peers; writes docs/benchmarks.md
	.venv-bench/bin/python -m benchmarks --write $(ARGS)

bench-cloud: .venv/.dev ## measure a run into the local Cloud Storage and BigQuery
	$(BIN)/python -m benchmarks --only cloud $(ARGS)

bench-streaming: .venv/.dev ## measure a stream into the local BigQuery
	$(BIN)/python -m benchmarks --only streaming $(ARGS)

bench-scale: .venv/.dev ## measure up to 200 million rows; writes docs/scale.md
	$(BIN)/python -m benchmarks.scale --write $(ARGS)

soak: .venv/.dev ## an hour of everything at once under kills and a bad network
	$(BIN)/python -m benchmarks.soak_faults $(ARGS)

tools: prism .tools/bin/fake-gcs-server .tools/bin/actionlint ## build what some tests run against (needs Go)

spark-jars: .tools/jars/gcs-connector-3.1.9-shaded.jar ## fetch what Spark needs for gs:// (needs Maven)

.tools/jars/gcs-connector-3.1.9-shaded.jar:
	mvn --batch-mode --quiet dependency:copy -DoutputDirectory=$(CURDIR)/.tools/jars \
	  -Dartifact=com.google.cloud.bigdataoss:gcs-connector:3.1.9:jar:shaded

flink: .tools/flink/.done ## fetch Flink and Beam's job server for it (needs Maven and a JDK; 300 MB)

.tools/flink/.done: tools/flink/pom.xml tools/flink/requirements.txt $(wildcard tools/flink/java/*.java) | .venv/.run
	rm -rf .tools/flink
	mkdir -p .tools/flink/job-server
	mvn --batch-mode --quiet --strict-checksums --file tools/flink/pom.xml dependency:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.tools/flink/job-server
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
	  --no-build-isolation --dest .tools/flink -r tools/flink/requirements.txt
	tar -xzf .tools/flink/apache-flink-libraries-*.tar.gz -C .tools/flink
	mv .tools/flink/apache-flink-libraries-*/deps/lib .tools/flink/lib
	rm -r .tools/flink/apache-flink-libraries-*
	javac -d .tools/flink/classes -cp '.tools/flink/job-server/*' tools/flink/java/*.java
	@touch $@

prism: .tools/bin/prism ## build Beam's Prism runner (needs Go)

.tools/bin/prism:
	GOBIN=$(CURDIR)/.tools/bin go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0

.tools/bin/actionlint:
	GOBIN=$(CURDIR)/.tools/bin go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

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
	$(BIN)/uv pip compile requirements/tools.in --universal --python-version 3.11 \
	  --generate-hashes --upgrade --quiet --custom-compile-command "make lock" -o requirements/tools.txt

.venv-tools/.done: requirements/tools.txt | .venv/bin/python
	@echo "Installing what looks at infra/ and the image into .venv-tools, once"
	@$(BIN)/python -m venv .venv-tools
	@.venv-tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/tools.txt
	@touch $@

clean: ## remove what make made
	rm -rf .venv .venv-bench .venv-tools .tools build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache

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
