"""What a launcher does after a run is the last step of a job on Dataflow: BigQuery is loaded there.

The very pipeline that is sent to Dataflow runs here, in this process.
"""

from __future__ import annotations

import gzip
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from celes_beam.stores.cloud.clients import bigquery_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch, replay
from pipelines.batch_launch import launch_round
from pipelines.replay_launch import launch_replay
from pipelines.replay_round import partition_by_of

HEADER = "id_cliente,fecha_de_transaccion,cantidad_de_venta,categoria_de_producto,region_de_venta\n"

BOTH = [(1, Decimal("10.00")), (2, Decimal("0.25"))]


def launched(*flags: str) -> Any:
    """Do as a launcher on Dataflow does, with the runner of this process."""
    _, options, beam_flags = batch._asked_for([*flags, "--progress", "off"])
    lake = Lake.open(options.output)
    return launch_round(options, lake, batch._list(options, lake), beam_flags)


def held(table: str) -> list[tuple[int, Decimal]]:
    project, name = table.split(":")
    sql = f"SELECT id_cliente, cantidad_de_venta FROM `{project}.{name}` ORDER BY 1"
    rows = bigquery_client(project).query(sql, job_retry=None).result()
    return [(row[0], row[1]) for row in rows]


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.csv"
    path.parent.mkdir()
    path.write_text(
        HEADER + "1,2024-05-03,10.00,Hogar,Norte\n2,2024-05-03,0.25,Hogar,Sur\n"
        "x,2024-05-03,1.00,Hogar,Sur\n"
    )
    return path


def test_the_job_itself_loads_what_it_commits_and_tells_the_log(
    sales: Path, tmp_path: Path, dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    lake, table = tmp_path / "lake", f"{dataset}.ventas"
    flags = ["-i", str(sales), "-o", str(lake), "--if_exists", "append", "--run_id", "r1"]

    with caplog.at_level(logging.INFO, "celes_beam"):
        job = launched(*flags, "--bigquery_table", table)

    assert job.to_dict()["status"] == "launched"
    assert held(table) == BOTH
    assert "committed run r1: read=3 accepted=2 rejected=1" in caplog.text
    assert "rows=2 rejected=1" in caplog.text
    assert verify(Lake.open(str(lake))).problems == ()

    # Again, and with nothing new: nothing is committed or loaded twice.
    launched(*flags, "--bigquery_table", table)
    with caplog.at_level(logging.INFO, "celes_beam"):
        launched(*flags[:-1], "r2", "--bigquery_table", table)
    assert "run r2: nothing to take in (no_new_files)" in caplog.text
    assert held(table) == BOTH


def test_a_run_that_was_committed_before_is_loaded_by_the_job(
    sales: Path, tmp_path: Path, dataset: str
) -> None:
    lake, table = tmp_path / "lake", f"{dataset}.ventas"
    flags = ["-i", str(sales), "-o", str(lake), "--run_id", "r1"]
    batch.run([*flags, "--progress", "off"])

    assert launched(*flags).status == "already_committed"
    job = launched(*flags, "--if_exists", "append", "--bigquery_table", table)

    assert job.to_dict()["status"] == "launched"
    assert len(held(table)) == 2


def test_files_that_need_another_attempt_fail_the_job_by_name(tmp_path: Path) -> None:
    good, cut = tmp_path / "good.csv", tmp_path / "cut.csv.gz"
    rows = HEADER + "".join(f"{n},2024-05-03,10.00,Hogar,Norte\n" for n in range(300_000))
    good.write_text(HEADER + "1,2024-05-03,10.00,Hogar,Norte\n")
    # Rows of it are staged before its trouble shows.
    cut.write_bytes(gzip.compress(rows.encode(), compresslevel=1)[:-1000])
    lake = tmp_path / "lake"

    with pytest.raises(Exception, match=r"1 of 2 files could not be read to the end.*cut\.csv\.gz"):
        launched("-i", str(good), str(cut), "-o", str(lake), "--bad_files", "set_aside")

    assert not Lake.open(str(lake)).runs()


def test_a_replay_loads_what_it_commits(sales: Path, tmp_path: Path, dataset: str) -> None:
    lake, table = tmp_path / "lake", f"{dataset}.ventas"
    take = ["-i", str(sales), "-o", str(lake), "--regions", "Norte", "--progress", "off"]
    batch.run([*take, "--bigquery_table", table])
    flags = ["--from", str(lake), "--bigquery_table", table, "--progress", "off"]
    _, options, beam_flags = replay._asked_for(flags)
    opened = Lake.open(str(lake))
    opened.prepare(run_id=options.run_id, if_exists="append", partition_by=None)

    rows = replay._open(options)
    rows.check()
    job = launch_replay(options, opened, partition_by_of(opened), rows, beam_flags)

    assert job.reads.startswith("2 rejected rows")
    assert held(table) == BOTH
    assert verify(opened).problems == ()
    nothing = launch_replay(options, opened, partition_by_of(opened), rows, beam_flags)
    assert nothing.reads == "no rejected rows"
