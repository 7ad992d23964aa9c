"""Jobs of Dataflow: what would break them is refused before the launch, which does not wait."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from celes_beam.commands.launched import StartedJob
from celes_beam.errors import ConfigError
from celes_beam.stores.cloud.clients import GCS_SCHEME


def check_job(options: PipelineOptions, places: Mapping[str, str | Sequence[str] | None]) -> None:
    """Raise ``ConfigError`` for a job whose workers would lack this package, or its files.

    ``places`` are paths by the flag that named them; all must be in buckets.
    """
    for flag, named in places.items():
        for path in (named,) if isinstance(named, str) else named or ():
            if not path.startswith(GCS_SCHEME):
                raise ConfigError(
                    f"{flag} {path}: workers of Dataflow do not see the disk of this machine: "
                    "expected gs://BUCKET/…"
                )
    set_up = options.view_as(SetupOptions)
    brought = (set_up.setup_file, set_up.extra_packages, set_up.requirements_file)
    if not options.view_as(WorkerOptions).sdk_container_image and not any(brought):
        raise ConfigError(
            "--sdk_container_image is missing: workers of Dataflow need the image that holds this "
            "package, such as REGION-docker.pkg.dev/PROJECT/celes-beam/celes-beam:VERSION "
            "(celes-beam deploy build makes it)"
        )


def is_flex_launch(options: PipelineOptions) -> bool:
    """Whether a Flex Template is being launched, which has to end with a job written down."""
    return bool(options.view_as(GoogleCloudOptions).template_location)


def launch(pipeline: beam.Pipeline) -> StartedJob | None:
    """Start a job; None for a Flex Template, whose job Dataflow starts itself.

    Nobody waits for it: the launcher of a template that does ends in an error.
    """
    logging.getLogger("apache_beam").setLevel(logging.INFO)
    result: Any = pipeline.run()
    if not getattr(result, "has_job", False):
        return None
    return StartedJob(str(result.job_id()), pipeline.options.view_as(GoogleCloudOptions).region)
