"""Prism, a runner beside this process: a run that is interrupted ends it before it tidies up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.prism_runner import PrismRunner

from celes_beam.commands.interrupts import interrupts_wait


@contextmanager
def prism_ended_with_us(options: PipelineOptions) -> Iterator[None]:
    """Wait for a pipeline in the body; an interrupt ends Prism, and those that follow wait for it.

    Workers are threads of this process, and would go on writing what is taken back. Beam's own
    handler ends Prism at a SIGINT alone, and waits for itself for ever when another one comes.
    """
    try:
        yield
    except KeyboardInterrupt:
        with interrupts_wait():
            PrismRunner().default_job_server(options).stop()
        raise
