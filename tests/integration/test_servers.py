"""Local servers of Google's services: started, asked by Google's clients, and ended."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery

from celes_beam.errors import LocalServerError, UsageError
from celes_beam.local import processes, servers
from celes_beam.local.processes import Server, last_lines, listens
from celes_beam.local.servers import start_pubsub, start_storage
from celes_beam.stores.cloud.clients import bigquery_client
from celes_beam.stores.warehouse.stream_tables import make_stream, stream_batch
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.write_streams import WriteStreams
from tests.cloud import started
from tests.sales import sales_batch

ID_FIELD = bigquery.SchemaField("id", "INTEGER")


def test_bigquery_reads_what_cloud_storage_holds(bucket: Any, dataset: str) -> None:
    project, name = dataset.split(":")
    client = bigquery_client(project)
    client.create_dataset(name)
    bucket.blob("in/a.csv").upload_from_string("id,amount\n1,5.50\n2,4.50\n")
    table = f"{project}.{name}.sums"
    schema = [bigquery.SchemaField("id", "INTEGER"), bigquery.SchemaField("amount", "NUMERIC")]
    client.create_table(bigquery.Table(table, schema))
    how = bigquery.LoadJobConfig(schema=schema, source_format="CSV", skip_leading_rows=1)
    client.load_table_from_uri(f"gs://{bucket.name}/in/a.csv", table, job_config=how).result()
    ((total,),) = client.query_and_wait(f"select sum(amount) from `{table}`")
    assert str(total) == "10.000000000"
    client.close()


def test_bigquery_takes_appends_while_tables_are_made_and_asked(dataset: str) -> None:
    destination = Destination(parse_table_name(f"{dataset}.ventas"))
    make_stream(destination)
    client = bigquery_client(destination.table.project)
    batch = sales_batch([("Hogar", "Norte", 100)] * 50)
    rows = stream_batch(batch, pa.array(["x"] * 50), 0)
    appended: list[int] = []
    done = threading.Event()

    def append() -> None:
        with WriteStreams(destination.table, patience_seconds=5, answer_seconds=10) as streams:
            while not done.is_set():
                appended.append(streams.append(rows).rows)

    writers = [threading.Thread(target=append, daemon=True) for _ in range(2)]
    for writer in writers:
        writer.start()
    path = f"{destination.table.project}.{destination.table.dataset}"
    try:
        for n in range(20):
            client.create_table(bigquery.Table(f"{path}.t{n}", [ID_FIELD]), timeout=20)
            # An answer is that of the question, and of no append beside it.
            ((found,),) = client.query_and_wait(f"SELECT {n} + 0.5")
            assert found == n + 0.5
    finally:
        done.set()
        for writer in writers:
            writer.join(30)
    assert not any(writer.is_alive() for writer in writers)
    ((found,),) = client.query_and_wait(f"SELECT COUNT(*) FROM `{destination.table.path}`")
    assert found == sum(appended) > 0
    client.close()


def test_pubsub_delivers(pubsub: str) -> None:
    from google.cloud import pubsub_v1

    with pubsub_v1.SubscriberClient() as subscriber:
        publisher = pubsub_v1.PublisherClient()
        topic = publisher.topic_path("celes-dev", "ventas")
        subscription = subscriber.subscription_path("celes-dev", "ventas-sub")
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        publisher.publish(topic, b"sale").result(10)
        (found,) = subscriber.pull(subscription=subscription, max_messages=1).received_messages
        assert found.message.data == b"sale"
        publisher.transport.close()


def test_objects_are_kept_in_a_folder_with_spaces_and_the_port_is_free_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "with a space"
    with started(start_storage, folder) as server:
        port = server.ports["http"]
        assert listens(server.process.pid, [port])
        with socket.socket() as other:
            # Nothing but 127.0.0.1: another address of this machine refuses.
            assert other.connect_ex(("127.0.0.2", port)) != 0
    server.stop()
    assert server.process.poll() is not None
    assert (folder / "storage").is_dir()
    with start_storage(folder, port) as again:
        assert again.address == f"127.0.0.1:{port}"


def test_a_taken_port_is_told_before_anything_starts(storage_server: Server) -> None:
    port = storage_server.ports["http"]
    with pytest.raises(UsageError, match=f"storage: port {port} .* is taken"):
        start_storage(storage_server.log.parent, port)


@pytest.mark.parametrize("start", [start_storage, start_pubsub])
def test_a_free_port_that_another_takes_first_is_tried_anew(
    start: Any, storage_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = storage_server.ports
    choose = processes._choose
    choices = iter([lambda _: dict(taken), choose])
    monkeypatch.setattr(processes, "_choose", lambda ports: next(choices)(ports))  # noqa: PLW0108
    with started(start, tmp_path) as server:
        assert server.ports != taken


def test_a_server_that_dies_at_its_start_tells_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fake-gcs-server"
    script.write_text("#!/bin/sh\necho no luck today\nexit 7\n")
    script.chmod(0o755)
    monkeypatch.setattr(servers, "find_storage_server", lambda: script)
    with pytest.raises(LocalServerError, match=r"storage ended .* code 7: no luck today \(log: "):
        start_storage(tmp_path)


def test_a_server_that_never_answers_is_ended_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fake-gcs-server"
    script.write_text(f"#!/bin/sh\necho $$ > '{tmp_path}/pid'\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(servers, "find_storage_server", lambda: script)
    monkeypatch.setattr(processes, "START_SECONDS", 0.5)
    with pytest.raises(LocalServerError, match=r"did not answer at 127\.0\.0\.1:\d+ in 0\.5 s"):
        start_storage(tmp_path)
    psutil = processes.process_library()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_last_lines_leave_out_the_stack(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("java.net.BindException: Address already in use\n\tat a.b(c)\n\tat d.e(f)\n")
    assert last_lines(log) == "java.net.BindException: Address already in use"
    assert last_lines(tmp_path / "none") == "it wrote no log"
