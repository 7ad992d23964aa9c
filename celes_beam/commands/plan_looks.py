"""What a plan looks at: the files of a batch run, the messages of a stream, the account."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celes_beam.doctor.account import SERVICES
from celes_beam.doctor.check import Check, State, within_deadline
from celes_beam.doctor.examine import Setup, examine
from celes_beam.doctor.pubsub_access import check_topic
from celes_beam.plan.asked import Asked
from celes_beam.plan.google import Google
from celes_beam.plan.refusals import Refusal
from celes_beam.stores.inputs.files import InputFile, list_inputs
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.messages.paths import full_path, project_of
from celes_beam.stores.messages.subscription import check_subscription

if TYPE_CHECKING:
    from celes_beam.commands.batch_options import BatchOptions
    from celes_beam.commands.stream_options import StreamOptions
    from celes_beam.plan.job import Job

Look = tuple[str, Callable[[], Iterable[Check]]]


class BatchLook:
    """The files that a batch run would read; ``files`` is None until they were listed."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._known = 0
        self.files: list[tuple[str, int]] | None = None

    @property
    def looks(self) -> list[Look]:
        """What has to be looked at."""
        return [] if self._options.generates else [("files", self._look)]

    def told(self) -> str:
        """What is read, for people."""
        if self._options.generates:
            return f"{self._options.config.rows:,} generated rows"
        if self.files is None:
            return f"{', '.join(self._options.inputs)}: not looked at"
        size = sum(size for _, size in self.files)
        known = f"; {self._known:,} more are in the lake already" if self._known else ""
        return f"{len(self.files):,} files, {size:,} bytes{known}"

    def figures(self) -> Mapping[str, Any]:
        """The same for programs."""
        if self._options.generates:
            return {"rows": self._options.config.rows}
        listed = self.files
        return {
            "files": None if listed is None else len(listed),
            "bytes": None if listed is None else sum(size for _, size in listed),
            "files_in_lake_already": self._known,
        }

    def _look(self) -> Iterator[Check]:
        options = self._options
        appends = options.if_exists == "append" and not options.reprocess
        listed = list_inputs(options.inputs, options.output, may_be_empty=lambda _: appends)
        new: list[InputFile] = Lake.open(options.output).unread(listed) if appends else listed
        self._known = len(listed) - len(new)
        self.files = [(file.path, file.size) for file in new]
        yield Check("files", State.OK, self.told())


class StreamLook:
    """The subscription and topics of a stream; ``refused`` is what Dataflow would not do."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self.subscription = _subscription(options)
        self.refused: list[Refusal] = []

    @property
    def looks(self) -> list[Look]:
        """What has to be looked at."""
        looks: list[Look] = []
        if self._options.topic is None:
            looks.append(("dead-letter policy", self._look))
        letters = self._options.dead_letter_topic
        if letters is not None:
            path = full_path(letters, "topic", "--dead_letter_topic")
            looks.append((f"topic {path}", lambda: check_topic(path)))
        return looks

    def _look(self) -> Iterator[Check]:
        facts = check_subscription(self.subscription, native=True)
        if facts.dead_letter_topic is not None:
            self.refused.append(
                Refusal(
                    f"{facts.path} has a dead-letter policy ({facts.dead_letter_topic}), which "
                    "Dataflow does not support",
                    f"gcloud pubsub subscriptions update {facts.path} --clear-dead-letter-policy, "
                    "and give --dead_letter_topic",
                )
            )
        if facts.exactly_once:
            said = "exactly-once delivery of Pub/Sub is on, which Dataflow neither needs nor helps"
            remedy = (
                f"gcloud pubsub subscriptions update {facts.path} --no-enable-exactly-once-delivery"
            )
            yield Check("subscription", State.WARNING, said, remedy)


def all_checks(
    job: Job, setup: Setup, subscription: str | None, looks: Sequence[Look]
) -> tuple[list[Check], Asked]:
    """Those of the doctor, of ``looks``, and of what Google tells; and its answers.

    Google itself is asked only where no service is a stand-in of this machine.
    """
    asked = Asked(Google.of_this_machine)
    checks = [*examine(setup)]
    for name, look in looks:
        checks += within_deadline(name, look)
    local = [service for service, variable in SERVICES.items() if os.environ.get(variable)]
    has_account = not any(c.name == "credentials" and c.state is State.FAILED for c in checks)
    if local:
        said = f"not asked for quotas, rights and backlog: {', '.join(local)} are local"
        checks.append(Check("Google", State.NOT_CHECKED, said))
    elif has_account:
        checks += asked.about(job, subscription)
    if not job.service_account:
        said = "workers would act as the Compute Engine default account, which may be an editor"
        remedy = "give --service_account_email, an account with the roles of docs/security.md"
        checks.append(Check("service account", State.WARNING, said, remedy))
    return checks, asked


def _subscription(options: StreamOptions) -> str:
    if options.topic is None:
        return full_path(options.subscription or "", "subscription", "--subscription")
    topic = full_path(options.topic, "topic", "--topic")
    return f"projects/{project_of(topic)}/subscriptions/{topic.split('/')[-1]}-celes-beam"
