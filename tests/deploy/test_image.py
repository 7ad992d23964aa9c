"""The image of Dockerfile.flex, built and run: it launches templates, and DoFns run inside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from celes_beam.local.processes import Server
from celes_beam.stores.cloud.clients import storage_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch
from tests.cloud import fresh_name, use
from tests.deploy.buildah_engine import private_buildah
from tests.deploy.engine import Engine, NoEngineError, private_docker
from tests.deploy.image_parts import IMAGE, build_base, build_image, derive, need_parts
from tests.deploy.standin import PROJECT, REGION, DataflowStandIn, throwaway_key
from tests.tools import ROOT, missing

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]
HEADER = "id_cliente,fecha_de_transaccion,cantidad_de_venta,categoria_de_producto,region_de_venta\n"
REGIONS = ("Norte", "Sur", "Este")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Docker's, or buildah where no daemon can run; CELES_IMAGE_ENGINE names one of them."""
    need_parts()
    kinds = {"docker": private_docker, "buildah": private_buildah}
    wanted = os.environ.get("CELES_IMAGE_ENGINE")
    reasons = []
    for name in [wanted] if wanted else kinds:
        with ExitStack() as stack:
            try:
                started = stack.enter_context(kinds[name]())
            except NoEngineError as error:
                reasons.append(str(error))
                continue
            yield started
            return
    missing("; ".join(reasons))


@pytest.fixture(scope="module")
def built(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine, with our image."""
    build_base(engine, tmp_path_factory.mktemp("base") / "context")
    said = build_image(engine)
    assert "No broken requirements found" in said
    return engine


@pytest.fixture(scope="module")
def bucket(storage_server: Server) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        use(storage_server, patch)
        made = storage_client().create_bucket(fresh_name("image"))
        for number in range(4):
            rows = "".join(
                f"{number * 1000 + n + 1},2024-05-03,{n + 1}.{n % 100:02},Hogar,{REGIONS[n % 3]}\n"
                for n in range(1000)
            )
            made.blob(f"in/{number}.csv").upload_from_string(HEADER + rows + "x,,,,\n")
        yield made


@pytest.fixture(scope="module")
def worker(built: Engine, storage_server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Our image for workers that find the local Cloud Storage."""
    lines = "\n".join(f"ENV {k}={v}" for k, v in storage_server.environment.items())
    return derive(
        built, "localhost/celes-beam:worker", tmp_path_factory.mktemp("worker") / "context", lines
    )


def run_in(engine: Engine, image: str, bucket: Any, lake: str) -> subprocess.CompletedProcess[str]:
    """Run ``pipelines.batch`` with all its DoFns in an image."""
    where = f"gs://{bucket.name}"
    with engine.workers(image) as flags:
        return subprocess.run(
            [
                *(sys.executable, "-m", "pipelines.batch", "--runner", "PortableRunner"),
                *("--job_endpoint", "embed", *flags, "--input", f"{where}/in/"),
                *("--output", f"{where}/{lake}", "--progress", "off", "--run_id", "in-the-image"),
            ],
            cwd=ROOT,
            env=os.environ | engine.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


def test_it_says_what_it_is_and_holds_no_source(built: Engine) -> None:
    settings = built.settings(IMAGE)

    assert settings["Entrypoint"] == ["/opt/apache/beam/boot"]
    assert "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/flex.py" in settings["Env"]
    assert settings["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert settings["Labels"]["org.opencontainers.image.revision"] == "0123abc"
    listed = built.start(
        *(IMAGE, "python", "-c"),
        "import celes_beam, pipelines.batch, os; print(celes_beam.__file__); "
        "print(sorted(os.listdir('/src')), os.listdir('/template'))",
        files={},
    )
    assert "/dist-packages/celes_beam/" in listed or "/site-packages/celes_beam/" in listed
    assert "tests" not in listed
    assert ".git" not in listed
    assert "['flex.py']" in listed


def test_its_packages_are_those_of_the_lock(built: Engine) -> None:
    said = built.start(IMAGE, "python", "-m", "pip", "freeze", "--all", files={})

    lock = (ROOT / "requirements" / "run.txt").read_text()
    pinned = defaultdict(set)
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^ ]+) ", lock, re.MULTILINE):
        pinned[_plain(name)].add(version)
    found = re.findall(r"^([\w.-]+)==(\S+)$", said, re.MULTILINE)
    inside = {_plain(name): version for name, version in found}
    assert {n: v for n, v in inside.items() if n in pinned and v not in pinned[n]} == {}
    # Of the lock only what is for other systems is not there.
    assert pinned.keys() - inside.keys() <= {"pywin32-ctypes"}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_launches_a_template(
    worker: str, built: Engine, bucket: Any, dataflow: DataflowStandIn, tmp_path: Path
) -> None:
    """As Google's launcher does: the named file, with --name=value, and a job at the end."""
    key, where = throwaway_key(tmp_path, dataflow.url), f"gs://{bucket.name}"
    settings = ("GOOGLE_APPLICATION_CREDENTIALS=/key.json", "NO_GCE_CHECK=true")
    built.start(
        *(worker, "env", *settings, "/opt/google/dataflow/python_template_launcher"),
        *(f"--input={where}/in/*.csv", f"--output={where}/launched", "--reprocess=false"),
        *("--runner=DataflowRunner", f"--project={PROJECT}", f"--region={REGION}"),
        *("--job_name=celes-batch", f"--temp_location={where}/temp"),
        *(f"--staging_location={where}/staging", f"--template_location={where}/job/job_object"),
        f"--sdk_container_image={REGION}-docker.pkg.dev/{PROJECT}/celes-beam/celes-beam:0.1.0",
        files={key: "/key.json"},
    )

    job = json.loads(bucket.blob("job/job_object").download_as_bytes())
    assert job["name"] == "celes-batch"
    assert job["type"] == "JOB_TYPE_BATCH"


def test_its_dofns_run_inside_and_the_sums_are_equal(
    worker: str, built: Engine, bucket: Any
) -> None:
    ended = run_in(built, worker, bucket, "inside")

    assert ended.returncode == 0, ended.stderr[-3000:]
    lake = Lake.open(f"gs://{bucket.name}/inside")
    assert verify(lake).problems == ()
    (inside,) = lake.runs()
    where = f"gs://{bucket.name}"
    here = batch.run(["-i", f"{where}/in/", "-o", f"{where}/here", "--progress", "off"]).manifest
    assert (inside.rows_read, inside.rows_accepted, inside.rows_rejected) == (4004, 4000, 4)
    assert inside.total == here.total
    assert inside.by_category == here.by_category
    assert inside.by_region == here.by_region


def test_without_the_package_they_fail(
    worker: str, built: Engine, bucket: Any, tmp_path: Path
) -> None:
    """Which shows that they do run in the image, and not beside it."""
    lines = "RUN python -m pip uninstall --yes --root-user-action=ignore celes-beam"
    bare = derive(built, "localhost/celes-beam:bare", tmp_path / "context", lines)

    ended = run_in(built, bare, bucket, "bare")

    assert ended.returncode != 0
    assert "No module named 'celes_beam'" in ended.stdout + ended.stderr
    assert Lake.open(f"gs://{bucket.name}/bare").runs() == []
