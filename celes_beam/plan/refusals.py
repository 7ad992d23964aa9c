"""What is known to break a job on Dataflow, each found in its flags alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celes_beam.errors import ConfigError
from celes_beam.plan.job import IMAGE_PATTERN, Job

STREAMS_PER_HOUR = 10_000
"""Write streams that BigQuery lets a project make in a region and hour (CreateWriteStream)."""
STREAMS_PER_BATCH = 2
"""A batch of exactly_once has one for its accepted and one for its rejected rows."""
_GCS = "gs://"
_KEY = re.compile(r"projects/[^/]+/locations/(?P<place>[^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
_SUBNETWORK = re.compile(
    r"(?:https://www\.googleapis\.com/compute/v1/projects/[^/]+/)?"
    r"regions/(?P<region>[^/]+)/subnetworks/[^/]+"
)
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{0,29}")
_BUCKET_PATH = re.compile(r"gs://[^/\s]+(/.*)?")
_IMAGE = re.compile(IMAGE_PATTERN, re.ASCII)
_REGION = re.compile(r"[a-z]+(-[a-z]+)+[0-9]+")
_JOB_NAME = re.compile(r"[a-z]([a-z0-9-]{0,1022}[a-z0-9])?")
_ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com")
_OLD_RUNNER = ("disable_runner_v2", "use_runner_v1", "disable_runner_v2_until_2023")
_MULTI_REGIONS = {"US": ("us",), "EU": ("europe", "eu")}


@dataclass(frozen=True)
class Refusal:
    """What would break, and what to do about it."""

    said: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.said}: {self.remedy}"


@dataclass(frozen=True)
class StreamShape:
    """What of a stream's flags decides how many batches it makes.

    ``rate`` is messages a second, ``message_bytes`` their size where it is known.
    """

    delivery: str
    max_batch_rows: int
    max_batch_seconds: float
    rate: float | None = None
    message_bytes: float = 0.0

    @property
    def batches_per_second(self) -> float:
        """The fewest batches: those of one gatherer, more where they fill before their time."""
        if self.rate == 0:
            return 0.0
        from celes_beam.sales.messages import MAX_BATCH_BYTES  # noqa: PLC0415 - not for --help

        rate = self.rate or 0.0
        return max(
            1 / self.max_batch_seconds,
            rate / self.max_batch_rows,
            rate * self.message_bytes / MAX_BATCH_BYTES,
        )

    @property
    def streams_per_hour(self) -> float:
        """Write streams that exactly_once makes of them; none otherwise."""
        if self.delivery != "exactly_once":
            return 0.0
        return self.batches_per_second * STREAMS_PER_BATCH * 3_600


def refusals(job: Job, places: Sequence[tuple[str, str]]) -> Iterator[Refusal]:
    """All that would break the launch or the job; ``places`` are flags and paths in use."""
    yield from _launch(job)
    yield from _places(job, places)
    yield from _addresses(job)
    yield from place_refusals(job)
    yield from _flags(job)


def place_refusals(job: Job) -> Iterator[Refusal]:
    """What of a job's place is wrong: project, region, account, subnetwork, key and machines."""
    if job.project and not _PROJECT.fullmatch(job.project):
        yield Refusal(
            f"--project {job.project}: expected the id of a project, which has a-z, 0-9 and -",
            "gcloud projects list tells it",
        )
    if job.region and not _REGION.fullmatch(job.region):
        yield Refusal(
            f"--region {job.region}: a job has a region, and no zone or continent",
            "give one such as us-central1",
        )
    account = job.service_account
    if account and not _ACCOUNT.fullmatch(account):
        yield Refusal(
            f"--service_account {account} is no address of a service account",
            "give NAME@PROJECT.iam.gserviceaccount.com",
        )
    yield from _subnetwork(job)
    yield from _keys(job)
    yield from _workers(job)


def stream_refusals(job: Job, shape: StreamShape) -> Iterator[Refusal]:
    """What breaks a stream beyond that."""
    if job.flexrs:
        yield Refusal(f"--flexrs_goal {job.flexrs} is for batch jobs", "leave it out")
    if job.update and not job.name:
        yield Refusal(
            "--update needs the name of the job that it takes the place of", "give --job_name"
        )
    if shape.delivery != "exactly_once":
        return
    if shape.max_batch_seconds < 1:
        yield Refusal(
            f"--delivery exactly_once with --max_batch_seconds {shape.max_batch_seconds:g} makes "
            f"{shape.streams_per_hour:,.0f} write streams an hour or more, and BigQuery's quota is "
            f"{STREAMS_PER_HOUR:,} in a project and region",
            "give --max_batch_seconds 5, or --delivery at_least_once",
        )
    elif shape.streams_per_hour > STREAMS_PER_HOUR:
        rows = int((shape.rate or 0) * STREAMS_PER_BATCH * 3_600 / STREAMS_PER_HOUR) + 1
        most = 100_000
        remedy = f"give --max_batch_rows {rows:,} or more".replace(",", "")
        if rows > most or rows <= shape.max_batch_rows:
            # The second: batches are full by their bytes before that.
            remedy = "give --delivery at_least_once, or ask for more quota"
        yield Refusal(
            f"--delivery exactly_once at --rate {shape.rate:g} in batches of "
            f"{shape.max_batch_rows:,} makes {shape.streams_per_hour:,.0f} write streams an hour, "
            f"and BigQuery's quota is {STREAMS_PER_HOUR:,} in a project and region",
            remedy,
        )


def _launch(job: Job) -> Iterator[Refusal]:
    if job.runner and not _on_dataflow(job.runner):
        yield Refusal(
            f"--runner {job.runner}: a plan is of a job on Dataflow",
            "leave it out, or give DataflowRunner",
        )
    for flag, value in (
        ("project", job.project),
        ("region", job.region),
        ("temp_location", job.temp_location),
    ):
        if not value:
            yield Refusal(f"--{flag} is missing", "a job on Dataflow needs it")
    if not job.image and not _packages(job):
        yield Refusal(
            "--sdk_container_image is missing, and workers would lack this package",
            "give the image of celes-beam deploy build",
        )
    if job.image and not _IMAGE.fullmatch(job.image):
        yield Refusal(
            f"--sdk_container_image {job.image}: expected an image of a registry",
            "give REGION-docker.pkg.dev/PROJECT/celes-beam/celes-beam:VERSION",
        )
    if job.name and not _JOB_NAME.fullmatch(job.name):
        yield Refusal(
            f"--job_name {job.name}: expected a-z, 0-9 and -, a letter first", "choose another"
        )


def _places(job: Job, places: Sequence[tuple[str, str]]) -> Iterator[Refusal]:
    named = [*places]
    for flag, value in (
        ("--temp_location", job.temp_location),
        ("--staging_location", job.staging_location),
    ):
        if value:
            named.append((flag, value))
    for flag, path in named:
        if not path.startswith(_GCS):
            yield Refusal(
                f"{flag} {path}: workers do not see the disk of this machine",
                "give gs://BUCKET/FOLDER",
            )
        elif not _BUCKET_PATH.fullmatch(path):
            yield Refusal(f"{flag} {path} names no bucket", "give gs://BUCKET/FOLDER")


def _addresses(job: Job) -> Iterator[Refusal]:
    asked_by_beam = _on_dataflow(job.runner) and "no_use_public_ips" not in job.others
    if job.private and job.public_ips:
        yield Refusal(
            "--use_public_ips gives workers addresses that the internet sees, and the policy is "
            "private",
            "leave it out, or say --policy open",
        )
    elif job.private and asked_by_beam:
        yield Refusal(
            "a launch by --runner gives workers public addresses unless told, and the policy is "
            "private",
            "add --no_use_public_ips, or say --policy open",
        )
    if not job.public_ips and not job.subnetwork:
        yield Refusal(
            "workers without public addresses reach Google by a subnetwork with Private Google "
            "Access alone, and --subnetwork is missing",
            "give --subnetwork regions/REGION/subnetworks/NAME",
        )
    packages = _packages(job)
    if packages and job.private:
        yield Refusal(
            f"--{packages[0]} has workers install packages, and without public addresses they "
            "reach no PyPI",
            "leave it out: the image holds everything",
        )


def _subnetwork(job: Job) -> Iterator[Refusal]:
    if job.subnetwork:
        found = _SUBNETWORK.fullmatch(job.subnetwork)
        if found is None:
            yield Refusal(
                f"--subnetwork {job.subnetwork}: expected regions/REGION/subnetworks/NAME, or its "
                "URL when the network is another project's",
                "give its path",
            )
        elif job.region and found["region"] != job.region:
            yield Refusal(
                f"--subnetwork {job.subnetwork} is in {found['region']}, the job in {job.region}",
                "keep both in one region",
            )


def _keys(job: Job) -> Iterator[Refusal]:
    if job.kms_key and (refused := _key(job.kms_key, "--dataflow_kms_key", job.region, "the job")):
        yield refused
    place = (job.table_location or "").lower() or None
    if job.table_kms_key and (
        refused := _key(job.table_kms_key, "--kms_key", place, "the dataset")
    ):
        yield refused
    location = (job.table_location or "").upper()
    if job.region and location and not _near(location, job.region):
        yield Refusal(
            f"--bigquery_location {location} is not where the job is ({job.region}), and its "
            "bucket should be too",
            "keep dataset, bucket and job at one place",
        )


def _key(key: str, flag: str, place: str | None, whose: str) -> Refusal | None:
    found = _KEY.fullmatch(key)
    if found is None:
        return Refusal(
            f"{flag} {key}: expected projects/P/locations/L/keyRings/R/cryptoKeys/K",
            "give the path of the key",
        )
    if place and found["place"] != place:
        return Refusal(
            f"{flag} {key} is in {found['place']}, {whose} in {place}",
            f"give a key in {place}: a key of another place cannot be used",
        )
    return None


def _near(location: str, region: str) -> bool:
    starts = _MULTI_REGIONS.get(location)
    return region.startswith(starts) if starts else location == region.upper()


def _workers(job: Job) -> Iterator[Refusal]:
    try:
        _ = job.machine
    except ConfigError as error:
        said, _, remedy = str(error).rpartition(": ")
        yield Refusal(said, remedy)
    if job.num_workers and job.max_workers and job.num_workers > job.max_workers:
        yield Refusal(
            f"--num_workers {job.num_workers} is more than --max_workers {job.max_workers}",
            "give at most as many",
        )
    if job.zone and job.region and not job.zone.startswith(f"{job.region}-"):
        yield Refusal(
            f"--worker_zone {job.zone} is not in the job's region {job.region}",
            "leave it out: Dataflow chooses a zone that has room",
        )


def _flags(job: Job) -> Iterator[Refusal]:
    for one in job.experiments:
        if one in _OLD_RUNNER:
            yield Refusal(
                f"--experiments {one}: images of one's own need Runner v2", "leave it out"
            )
    workers = job.others.get("direct_num_workers")
    if workers not in (None, "1"):
        yield Refusal(
            f"--direct_num_workers {workers} is for this machine alone, where a stream would lose "
            "messages by it",
            "leave it out",
        )


def _on_dataflow(runner: str | None) -> bool:
    return (runner or "").lower() in ("dataflowrunner", "testdataflowrunner")


def _packages(job: Job) -> list[str]:
    flags = ("setup_file", "requirements_file", "extra_package")
    return [flag for flag in flags if flag in job.others]
