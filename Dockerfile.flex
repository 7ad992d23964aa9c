# One image for the launcher of the Flex Templates, for the workers of their jobs, and for plain use
# (docker run --entrypoint python IMAGE -m pipelines.batch …). See docs/deploy.md, "The image".
ARG SDK_IMAGE=apache/beam_python3.11_sdk:2.77.0
ARG LAUNCHER_IMAGE=gcr.io/dataflow-templates-base/python311-template-launcher-base:latest

FROM ${LAUNCHER_IMAGE} AS launcher

FROM ${SDK_IMAGE}
ARG VERSION=0
ARG REVISION=unknown
# Files that pip compiles are the same for the same source then.
ARG SOURCE_DATE_EPOCH=0
# For a machine without PyPI: PIP_NO_INDEX=1 and PIP_FIND_LINKS, which pip reads by itself.
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS

LABEL org.opencontainers.image.title="celes-beam" \
      org.opencontainers.image.description="Columnar Apache Beam pipelines for sales: launcher, worker and command line" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

WORKDIR /src
COPY requirements/run.txt requirements/
# What builds the one source distribution of the lock comes first, and from the lock: a build of its
# own environment would take setuptools from the index, whatever is there that day.
RUN awk '/^setuptools==/ {found = 1} found {print} found && !/\\$/ {exit}' requirements/run.txt > requirements/build.txt \
    && python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
       --require-hashes --no-deps -r requirements/build.txt \
    && python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
       --require-hashes --no-deps --no-build-isolation -r requirements/run.txt

COPY pyproject.toml setup.py README.md ./
COPY celes_beam celes_beam
COPY pipelines pipelines
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
       --no-deps --no-build-isolation . \
    && rm -rf build ./*.egg-info \
    && python -m pip check

# The launcher runs a file, and no module.
COPY pipelines/flex.py /template/flex.py
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/flex.py \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    PYTHONUNBUFFERED=1

# Not in the sources: what runs is the installed package.
WORKDIR /template
# The launcher writes under /var/log/dataflow and the worker under /tmp and /opt: both start as root,
# in a VM of the job's own.
ENTRYPOINT ["/opt/apache/beam/boot"]
