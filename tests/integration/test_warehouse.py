"""Lakes loaded into a real server of BigQuery's protocol: nothing twice, nothing lost."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from rich.console import Console

from celes_beam.commands.warehouse_report import DryRun
from celes_beam.contract import CATEGORY, COLUMN_NAMES, REGION
from celes_beam.errors import IntegrityError, LakeConflictError, StorageError, UsageError
from celes_beam.local.processes import Server
from celes_beam.stores.cloud.clients import bigquery_client
from celes_beam.stores.lake.compact import compact
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.loads import LOADS, TableLoads, unloaded_paths
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.warehouse import warehouse as warehouse_module
from celes_beam.stores.warehouse.load import Loader
from celes_beam.stores.warehouse.schema import sales_table
from celes_beam.stores.warehouse.stream_tables import make_stream, stream_batch
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name
from celes_beam.stores.warehouse.tables import Destination, make, make_views, views_there
from celes_beam.stores.warehouse.views import View
from celes_beam.stores.warehouse.warehouse import Warehouse
from celes_beam.stores.warehouse.write_streams import WriteStreams
from pipelines import batch
from tests.bucket_folder import BucketFolder, folder_of
from tests.cloud import use
from tests.faults import FaultProxy, nth
from tests.lakes import Sale, commit_sales, draft, reject
from tests.sales import sales_batch

REPOSITORY = Path(__file__).parents[2]
OLD: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 175)]
NEW: list[Sale] = [("Hogar", "Norte", 999), ("Hogar", "Este", 5)]
PROJECT = "celes-dev"


@pytest.fixture
def table(
    bigquery_server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> TableName:
    use(bigquery_server, monkeypatch)
    return parse_table_name(f"{PROJECT}:d{abs(hash(request.node.name)) % 10**9}.ventas")


@pytest.fixture(params=["folder", "bucket"])
def lake(request: pytest.FixtureRequest, buckets: Path, table: TableName, tmp_path: Path) -> Lake:
    """A lake in a local folder, and one whose files BigQuery itself reads from a bucket."""
    if request.param == "folder":
        return Lake.open(str(tmp_path / "lake"))
    return bucket_lake(buckets, table)


def bucket_lake(buckets: Path, table: TableName) -> Lake:
    return Lake(BucketFolder(buckets, table.dataset))


def query(sql: str) -> list[tuple[Any, ...]]:
    rows = bigquery_client(PROJECT).query(sql, job_retry=None).result()
    return sorted(tuple(row.values()) for row in rows)


def held(table: TableName) -> list[tuple[str, str, int]]:
    """Category, region and cents of every row of a table."""
    found = query(
        f"SELECT categoria_de_producto, region_de_venta, cantidad_de_venta FROM `{table.path}`"
    )
    return [(category, region, int(amount * 100)) for category, region, amount in found]


def load(lake: Lake, table: TableName, **how: Any) -> warehouse_module.Loaded:
    warehouse = Warehouse(Destination(table), lake)
    warehouse.prepare(**how)
    return warehouse.load()


def test_a_run_is_loaded_once(lake: Lake, table: TableName) -> None:
    warehouse = Warehouse(Destination(table), lake)
    warehouse.prepare(partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    first = warehouse.load()
    again = load(lake, table)
    assert held(table) == sorted(OLD)
    assert (first.rows, first.runs, first.rows_before) == (3, 1, 0)
    assert (again.rows, again.jobs, again.rows_before) == (0, 0, 3)


def test_appended_runs_are_added_in_any_number(lake: Lake, table: TableName) -> None:
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    commit_sales(lake, "r2", NEW)
    commit_sales(lake, "r3", NEW)
    assert load(lake, table).runs == 2
    assert held(table) == sorted(OLD + NEW + NEW)


def test_an_overwrite_replaces_the_rows_of_the_table(lake: Lake, table: TableName) -> None:
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    commit_sales(lake, "r2", NEW, kind="overwrite")
    commit_sales(lake, "r3", OLD)
    load(lake, table)
    assert held(table) == sorted(NEW + OLD)


def test_an_overwrite_before_the_registration_replaces_nothing(
    lake: Lake, table: TableName
) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    commit_sales(lake, "r2", NEW, kind="overwrite")
    client = bigquery_client(PROJECT)
    client.create_dataset(f"{PROJECT}.{table.dataset}")
    client.create_table(sales_table(table, (REGION,), None))
    query(f"INSERT INTO `{table.path}` VALUES (7, TIMESTAMP '2024-01-01', 1.25, 'Otra', 'Oeste')")
    load(lake, table, if_exists="append")
    assert held(table) == sorted([*NEW, ("Otra", "Oeste", 125)])


def test_rows_of_others_are_not_added_to_without_being_asked(lake: Lake, table: TableName) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    other = Lake.open(f"{folder_of(lake)}/../other")
    with pytest.raises(UsageError, match=r"already holds 3 rows.*--if_exists append"):
        load(other, table, if_exists="error", run_id="r9")
    assert not list(other.storage.list())
    assert load(lake, table, if_exists="error").rows_before == 3


def test_a_run_that_was_loaded_before_an_overwrite_missed_it_is_loaded_again(
    lake: Lake, table: TableName
) -> None:
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    late = commit_sales(lake, "late", OLD)
    load(lake, table)
    overwrite = commit_sales(lake, "r2", NEW, kind="overwrite")
    # As if the overwrite had looked at the lake a moment before the append was decided.
    missed = msgspec.structs.replace(
        overwrite,
        retired=tuple(p for p in overwrite.retired if p not in {f.path for f in late.files}),
    )
    round_ = warehouse_module.rounds([late, missed], registration(lake, table))[-1]
    plan = plan_with(lake, table, missed)
    assert [(s.run_id, s.round_) for s in plan.steps] == [("r2", round_), ("late", round_)]
    assert next(c.truncates for s in plan.steps for c in s.chunks)


def registration(lake: Lake, table: TableName) -> Any:
    return TableLoads(lake.storage, table.key).registration()


def plan_with(lake: Lake, table: TableName, changed: Any) -> Any:
    warehouse = Warehouse(Destination(table), lake)
    manifests = [changed if m.run_id == changed.run_id else m for m in lake.runs()]
    tables, _ = warehouse.pending()
    return warehouse._plan(manifests, registration(lake, table), tables)


def test_nothing_of_an_earlier_round_starts_after_an_overwrite(
    lake: Lake, table: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    slow = Warehouse(Destination(table), lake)
    slow.prepare()
    begin = Loader.load

    def overtaken(loader: Loader, step: Any) -> list[str]:
        """Another process overwrites the lake, and loads it, just before the first job here."""
        monkeypatch.setattr(Loader, "load", begin)
        files = kept_files(lake)
        commit_sales(lake, "r2", NEW, kind="overwrite")
        load(lake, table)
        restore(files)  # so that nothing but the used-up job id can stop what follows
        try:
            return begin(loader, step)
        finally:
            for path in files:
                path.unlink()

    monkeypatch.setattr(Loader, "load", overtaken)
    slow.load()
    assert held(table) == sorted(NEW)


def kept_files(lake: Lake) -> dict[Path, bytes]:
    root = folder_of(lake)
    return {p: p.read_bytes() for p in root.rglob("*.parquet")}


def restore(files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("moment", ["before_load", "before_mark", "between_jobs"])
def test_a_run_killed_on_its_way_is_loaded_once_by_the_next(
    table: TableName, tmp_path: Path, moment: str
) -> None:
    root = tmp_path / "lake"
    arguments = [
        *("--rows", "3000", "-o", str(root), "--run_id", "r1", "--progress", "off"),
        *("--bigquery_table", str(table)),
    ]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED[moment], *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    lake = Lake.open(str(root))
    assert lake.snapshot().rows == 3000
    loaded = load(lake, table)
    assert loaded.rows == 3000
    assert query(f"SELECT COUNT(*), SUM(cantidad_de_venta) FROM `{table.path}`") == [
        (3000, lake.snapshot().total)
    ]
    assert load(lake, table).jobs == 0


_KILL = "import os, signal, sys\ndef die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)\n"
_RUN = "\nfrom pipelines.batch import main\nsys.exit(main())"
KILLED = {
    "before_load": _KILL
    + "from celes_beam.stores.warehouse.warehouse import Warehouse as C; C.load = die"
    + _RUN,
    "before_mark": _KILL
    + "from celes_beam.stores.lake.loads import TableLoads as C; C.mark = die"
    + _RUN,
    "between_jobs": _KILL
    + "from celes_beam.stores.warehouse import plan; plan.BYTES_PER_UPLOAD = 1\n"
    + "from celes_beam.stores.warehouse.load import Loader as C; one = C._load\n"
    + "C._load = lambda self, chunk: (one(self, chunk), die())"
    + _RUN,
}


@pytest.fixture(autouse=True)
def small_uploads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run shares files out as the killed one did."""
    if "between_jobs" in request.node.name:
        monkeypatch.setattr("celes_beam.stores.warehouse.plan.BYTES_PER_UPLOAD", 1)


def test_of_processes_that_load_at_once_one_starts_each_job(
    table: TableName, tmp_path: Path
) -> None:
    lake = Lake.open(str(tmp_path / "lake"))
    Warehouse(Destination(table), lake).prepare(partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    arguments = CLI["lake load"](lake.storage.root, str(table))
    racers = [
        subprocess.Popen([sys.executable, *arguments], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert [racer.wait(60) for racer in racers] == [0, 0, 0]
    assert held(table) == sorted(OLD)


def test_rejected_rows_have_a_table_of_their_own(lake: Lake, table: TableName) -> None:
    load(lake, table, partition_by=(REGION,))
    lake.commit(reject(lake, draft(lake, "r1", OLD, kind="create"), 2))
    lake.commit(reject(lake, draft(lake, "only-rejected", []), 3))
    loaded = load(lake, table)
    load(lake, table)
    assert (loaded.rows, loaded.rejected_rows) == (3, 5)
    found = query(
        f"SELECT COUNT(*), COUNT(DISTINCT position) FROM `{table.rejected.path}` "
        "WHERE 'missing' IN UNNEST(reasons)"
    )
    assert found == [(5, 3)]


def test_views_give_the_sums(lake: Lake, table: TableName) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    dataset = f"{PROJECT}.{table.dataset}"
    by_category = query(f"SELECT * FROM `{dataset}.ventas_por_categoria`")
    assert by_category == [
        ("Hogar", 1, Decimal("1"), Decimal("1")),
        ("Ropa", 2, Decimal("4.25"), Decimal("2.125")),
    ]
    by_region = query(f"SELECT region_de_venta, total FROM `{dataset}.ventas_por_region`")
    assert by_region == [("Norte", Decimal("1")), ("Sur", Decimal("4.25"))]
    (by_day,) = query(f"SELECT CAST(fecha AS STRING), ventas FROM `{dataset}.ventas_por_dia`")
    assert by_day == ("2024-05-03", 3)


def test_two_tables_of_one_dataset_have_views_each(lake: Lake, table: TableName) -> None:
    other = table.beside("otras")
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    commit_sales(lake, "r2", NEW)
    second = load(lake, other)
    assert (held(table), held(other)) == (sorted(OLD), sorted(OLD + NEW))
    assert second.views[0] == "otras_ventas_por_categoria"
    names = [table.beside(n).path for n in ("ventas_por_region", second.views[1])]
    totals = [query(f"SELECT SUM(total) FROM `{name}`") for name in names]
    assert totals == [[(Decimal("5.25"),)], [(Decimal("15.29"),)]]


def test_two_tables_made_at_once_have_views_each(table: TableName) -> None:
    """Both find the short names free."""
    make(Destination(table), ())
    client, others = bigquery_client(PROJECT), [table.beside("unas"), table.beside("otras")]
    free = View("ventas_por_mes", f"SELECT * FROM `{table.path}`", "Sales.")
    looks = [views_there(client, name, [free]) for name in others]
    for name, look in zip(others, looks, strict=True):
        make_views(client, name, look)
    found = [views_there(client, name, [free]) for name in others]
    assert [(n.table, made) for look in found for n, _, made in look] == [
        ("ventas_por_mes", True),
        ("otras_ventas_por_mes", True),
    ]


def test_columns_are_added_to_a_table_that_another_process_changes(
    table: TableName, bigquery_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in would take what was sent; Google refuses it for the table's new state."""
    make(Destination(table), ())
    with FaultProxy(bigquery_server.address) as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)
        refused = proxy.add("answer", nth(1), method="PATCH", path="/tables/", status=412)
        made = make_stream(Destination(table))
    assert refused.happened == 1
    assert not made.columns_missing
    assert {"_message_id", "_ingested_at"} <= {f.name for f in made.sales.schema}


def test_a_dry_run_changes_nothing(lake: Lake, table: TableName) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    before = sorted(f.name for f in lake.storage.list())
    tables, plan = Warehouse(Destination(table), lake).pending()
    assert not tables.dataset_made
    assert [s.rows for s in plan.steps] == [3]
    assert sorted(f.name for f in lake.storage.list()) == before
    assert not [
        d for d in bigquery_client(PROJECT).list_datasets() if d.dataset_id == table.dataset
    ]


def test_a_dry_run_tells_what_would_be_read_and_publishes_nothing(
    table: TableName,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    landing, root = tmp_path / "landing", tmp_path / "lake"
    landing.mkdir()
    row = "1,2024-01-31,5.50,Hogar,Norte\n"
    (landing / "a.csv").write_text(f"{','.join(COLUMN_NAMES)}\n{row}")
    flags = ["-i", str(landing), "-o", str(root), "--if_exists", "append", "--progress", "off"]
    with monkeypatch.context() as patched:
        # Killed once it was decided.
        patched.setattr("celes_beam.stores.lake.lake.publish", lambda *_: None)
        batch.run(flags)
    before = sorted(f.name for f in Lake.open(str(root)).storage.list())
    for file, told in (
        ("", "no new files: the run reads nothing; 1 others are in the lake already"),
        ("b.csv", "accepted rows of 1 files"),
    ):
        if file:
            (landing / file).write_text((landing / "a.csv").read_text())
        assert batch.main([*flags, "--bigquery_table", str(table), "--dry_run"]) == 0
        assert told in capsys.readouterr().out
    (landing / "a.csv").unlink()
    (landing / "b.csv").unlink()
    assert batch.main([*flags, "--bigquery_table", str(table), "--dry_run"]) == 0
    assert sorted(f.name for f in Lake.open(str(root)).storage.list()) == before


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("id_cliente INT64", "column fecha_de_transaccion .TIMESTAMP. is missing"),
        ("id_cliente STRING", "column id_cliente is STRING, expected INTEGER"),
        ("id_cliente INT64, extra INT64 NOT NULL", "column extra is REQUIRED"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    table: TableName, tmp_path: Path, columns: str, problem: str
) -> None:
    client = bigquery_client(PROJECT)
    client.create_dataset(f"{PROJECT}.{table.dataset}", exists_ok=True)
    name = table.beside(f"t{abs(hash(problem))}")
    query(f"CREATE TABLE `{name.path}` ({columns})")
    lake = Lake.open(str(tmp_path / "lake"))
    with pytest.raises(UsageError, match=f"does not fit.*{problem}"):
        load(lake, name)
    assert not (tmp_path / "lake").exists()


def test_rows_fit_into_a_table_of_another_order_with_other_columns(
    table: TableName, tmp_path: Path
) -> None:
    client = bigquery_client(PROJECT)
    client.create_dataset(f"{PROJECT}.{table.dataset}")
    query(
        f"CREATE TABLE `{table.path}` (region_de_venta STRING, categoria_de_producto STRING, "
        "id_cliente INT64, cantidad_de_venta NUMERIC, _message_id STRING, "
        "fecha_de_transaccion TIMESTAMP)"
    )
    lake = Lake.open(str(tmp_path / "lake"))
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    assert held(table) == sorted(OLD)


def test_a_table_that_was_emptied_is_not_taken_for_loaded(lake: Lake, table: TableName) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    bigquery_client(PROJECT).delete_table(table.path)
    with pytest.raises(UsageError, match=r"is empty, but 3 rows .* delete .*_loads/"):
        load(lake, table)
    lake.storage.delete_folder(f"{LOADS}/{table.key}")
    assert load(lake, table).rows == 3
    assert held(table) == sorted(OLD)


def test_what_waits_for_a_table_is_not_merged_and_merged_files_are_not_loaded_again(
    lake: Lake, table: TableName
) -> None:
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    commit_sales(lake, "r2", OLD)
    load(lake, table)
    commit_sales(lake, "r3", NEW)
    waiting = unloaded_paths(lake)
    merged = compact(lake, target_bytes=2**20, run_id="c1")
    assert merged is not None
    assert waiting
    assert not waiting & set(merged.retired)
    assert load(lake, table).rows == len(NEW)
    compact(lake, target_bytes=2**20, run_id="c2")
    assert load(lake, table).jobs == 0
    assert held(table) == sorted(OLD + OLD + NEW)


def test_an_old_compacted_lake_is_loaded_into_a_new_table(lake: Lake, table: TableName) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    commit_sales(lake, "r2", OLD)
    compact(lake, target_bytes=2**20, run_id="c1")
    commit_sales(lake, "r3", NEW)
    load(lake, table)
    assert held(table) == sorted(OLD + OLD + NEW)
    assert unloaded_paths(lake) == frozenset()


def test_what_was_merged_before_the_registration_is_not_lost_when_loading_is_cut_short(
    lake: Lake, table: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    commit_sales(lake, "r2", [("Ropa", "Sur", 5), ("Ropa", "Este", 5)])
    compact(lake, target_bytes=2**20, run_id="c1")  # merges files of Sur, and leaves the others
    begin = Loader.load

    def fails(loader: Loader, step: Any) -> list[str]:
        if step.run_id == "c1":
            raise StorageError("cut short")
        return begin(loader, step)

    with monkeypatch.context() as patched:
        patched.setattr(Loader, "load", fails)
        with pytest.raises(StorageError):
            load(lake, table)
    assert load(lake, table).runs >= 1
    assert held(table) == sorted([*OLD, ("Ropa", "Sur", 5), ("Ropa", "Este", 5)])


def test_a_compaction_of_loaded_and_unloaded_files_is_told(lake: Lake, table: TableName) -> None:
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    commit_sales(lake, "r2", OLD)
    registered = lake.storage.read(f"{LOADS}/{table.key}/table.json")
    lake.storage.delete(f"{LOADS}/{table.key}/table.json")  # as if it had come a moment later
    compact(lake, target_bytes=2**20, run_id="c1")
    lake.storage.put_if_absent(f"{LOADS}/{table.key}/table.json", registered)
    with pytest.raises(IntegrityError, match="c1 merged files of r1, which was loaded"):
        load(lake, table)


@pytest.mark.parametrize("text", ["São 1", "100%", "a/b=c", "007", "2024-01-01"])
def test_texts_in_the_path_arrive_as_they_are(
    buckets: Path, table: TableName, tmp_path: Path, text: str
) -> None:
    from pipelines.batch import run

    table = table.beside(f"t{abs(hash(text))}")
    source = tmp_path / "ventas.csv"
    source.write_text(f"{','.join(COLUMN_NAMES)}\n1,2024-01-31,5.50,Hogar,{text}\n", "utf-8")
    lake = bucket_lake(buckets, table)
    root = str(folder_of(lake))
    run(["-i", str(source), "-o", root, "--if_exists", "append", "--progress", "off"])
    warehouse = Warehouse(Destination(table), lake)
    warehouse.prepare()
    _, plan = warehouse.pending()
    escaped = "%" in text or "/" in text
    assert plan.steps[0].chunks[0].how == ("rewritten" if escaped else "direct")
    warehouse.load()
    assert held(table)[-1:] == [("Hogar", text, 550)]


def test_a_job_that_fails_says_why_and_is_tried_again_next_time(
    buckets: Path, table: TableName
) -> None:
    lake = bucket_lake(buckets, table)
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    root = folder_of(lake)
    gone = next(root.rglob("*.parquet"))
    gone.rename(root / "aside")
    with pytest.raises(StorageError, match=r"could not load rows of run r1 .*lake load gs://"):
        load(lake, table)
    (root / "aside").rename(gone)
    # The stand-in keeps what a failed job had written before; Google's jobs are atomic.
    query(f"DELETE FROM `{table.path}` WHERE TRUE")
    load(lake, table)
    assert held(table) == sorted(OLD)


@pytest.mark.parametrize("how", ["answer", "reset", "lose_answer"])
def test_faults_of_the_way_are_outlasted_and_nothing_comes_twice(
    lake: Lake, table: TableName, bigquery_server: Server, monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    monkeypatch.setattr("celes_beam.stores.warehouse.jobs._FIRST_PAUSE_SECONDS", 0.01)
    with FaultProxy(bigquery_server.address) as way:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", way.url)
        fault = way.add(how, nth(1), method="POST", path="/jobs")
        assert load(lake, table).rows == 3
        assert fault.happened == 1
    use(bigquery_server, monkeypatch)
    assert held(table) == sorted(OLD)


def test_lakes_take_no_notice_of_loads(lake: Lake, table: TableName) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table)
    lake.sweep(4e9)
    assert not lake.strangers(9)
    assert not verify(lake).problems
    assert load(lake, table).jobs == 0


def test_a_given_up_run_is_a_conflict(table: TableName, tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"))
    load(lake, table, partition_by=(REGION,))
    commit_sales(lake, "r1", OLD, kind="create")
    warehouse = Warehouse(Destination(table), lake)
    tables, plan = warehouse.pending()
    warehouse._jobs(tables).forbid(plan.steps[0].chunks[0].key)
    with pytest.raises(LakeConflictError, match="was given up"):
        load(lake, table)


CLI: dict[str, Callable[[str, str], list[str]]] = {
    "batch": lambda root, table: [
        *("-m", "pipelines.batch", "-i", f"{root}.csv", "-o", root, "--bigquery_table", table),
        *("--run_id", "r1", "-p", "none"),
    ],
    "lake load": lambda root, table: [
        *("-m", "celes_beam.cli", "lake", "load", root, "--bigquery_table", table),
    ],
}


def test_command_lines(table: TableName, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    Path(f"{root}.csv").write_text(
        "id_cliente,fecha_de_transaccion,cantidad_de_venta,categoria_de_producto,region_de_venta\n"
        "1,2024-01-31,5.50,Hogar,100% / a=b\n2,2024-01-31,nada,Hogar,Sur\n",
        encoding="utf-8",
    )

    def command(name: str, *more: str, **fields: str) -> subprocess.CompletedProcess[str]:
        arguments = CLI[name](str(root), fields.get("table", str(table)))
        return subprocess.run(
            [sys.executable, *arguments, *more],
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
            text=True,
        )

    dry = command("batch", "--dry_run")
    assert dry.returncode == 0, dry.stderr
    assert f"table {table} would be made: partitioned by day" in dry.stdout
    assert not root.exists()
    run = command("batch")
    assert run.returncode == 0, run.stderr
    assert f"1 rows of 1 run loaded into {table} by 2 jobs" in run.stdout
    assert "1 rejected rows into" in run.stdout
    again = command("batch")
    assert "nothing to load" in again.stdout
    assert "1 rows were there already" in again.stdout
    loaded = command("lake load", "--json", table=str(table.beside("dos")))
    assert '"rows": 1' in loaded.stdout
    assert held(table) == held(table.beside("dos")) == [("Hogar", "100% / a=b", 550)]
    wrong = command("lake load", table="nothing")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1


def test_a_lake_partitioned_by_all_there_is_arrives_whole(table: TableName, tmp_path: Path) -> None:
    from pipelines.batch import run

    root = str(tmp_path / "lake")
    keys = f"{CATEGORY},mes,{REGION}"
    arguments = ["--rows", "2000", "-o", root, "-p", keys, "--progress", "off"]
    summary = run([*arguments, "--bigquery_table", str(table)])
    by_category = query(f"SELECT * FROM `{table.beside('ventas_por_categoria').path}`")
    expected = [
        (c["categoria_de_producto"], c["rows"], Decimal(c["total"]))
        for c in summary.to_dict()["by_category"]
    ]
    assert [row[:3] for row in by_category] == sorted(expected)


def test_a_dry_run_tells_programs_what_it_tells_people(table: TableName, tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"))
    commit_sales(lake, "r1", OLD, kind="create")
    lake.commit(reject(lake, draft(lake, "r2", []), 2))
    told = DryRun(Destination(table), *Warehouse(Destination(table), lake).pending(), "./lake")
    content = told.to_dict()
    assert content["dataset"] == {"name": f"{PROJECT}:{table.dataset}", "exists": False} | {
        "location": "US"
    }
    assert [(j["run_id"], j["into"], j["files"], j["rows"]) for j in content["jobs"]] == [
        ("r1", "sales", 2, 3),
        ("r2", "rejected rows", 1, 2),
    ]
    console = Console(record=True, width=120, file=io.StringIO())
    told.print(console)
    shown = console.export_text()
    for part in (
        "Dry run: nothing was changed.",
        "clustered by region_de_venta",
        "Load jobs",
        "r2",
    ):
        assert part in shown


def test_rows_that_were_streamed_are_loaded_into_other_tables_alone(
    lake: Lake, table: TableName
) -> None:
    make_stream(Destination(table), keep_other_fields=True)
    sales = sales_batch(OLD)
    with WriteStreams(table) as streams:
        streams.append(stream_batch(sales, pa.array(["a", "b", "c"]), 0))
    streamed = reject(lake, draft(lake, "s1", OLD, kind="create"), 2)
    lake.commit(msgspec.structs.replace(streamed, streamed_to=(table.key,)))
    with pytest.raises(UsageError, match=r"streamed to this lake as well: .* --if_exists append"):
        load(lake, table, if_exists="error")
    assert load(lake, table, if_exists="append").rows == 0
    assert query(f"SELECT * FROM `{table.rejected.path}`") == []
    commit_sales(lake, "r2", NEW)
    commit_sales(lake, "r3", OLD)
    # Files that are in the table are not merged with files that are not.
    loaded_later = [f.path for m in lake.runs() if m.run_id != "s1" for f in m.files]
    assert unloaded_paths(lake) == set(loaded_later)
    done = load(lake, table)
    assert (done.rows, done.rejected_rows, done.rows_before) == (5, 0, 3)
    compact(lake, target_bytes=2**20, run_id="c1")
    assert load(lake, table).jobs == 0
    assert held(table) == sorted(OLD + NEW + OLD)
    view = table.beside("ventas_unicas").path
    unique = query(f"SELECT IFNULL(_message_id, 'loaded') FROM `{view}`")
    assert [i for (i,) in unique] == ["a", "b", "c", *["loaded"] * 5]
    other = table.beside("otra")
    done = load(lake, other)
    assert (done.rows, done.rejected_rows) == (8, 2)
    assert held(other) == sorted(OLD + NEW + OLD)


def test_a_table_of_batch_becomes_one_of_a_stream(lake: Lake, table: TableName) -> None:
    commit_sales(lake, "r1", OLD, kind="create")
    load(lake, table, partition_by=(REGION,))
    made = make_stream(Destination(table), (REGION,))
    assert [f.name for f in made.sales.schema][5:] == ["_message_id", "_ingested_at"]
    assert all(f.description for f in made.sales.schema)
    made = make_stream(Destination(table), (REGION,), keep_other_fields=True)
    assert (made.sales.schema[7].name, made.sales.schema[7].field_type) == ("_otros_campos", "JSON")
    assert not made.columns_missing
    with WriteStreams(table) as streams:
        sales, ids = sales_batch([("Hogar", "Norte", 1)]), pa.array(["a"])
        streams.append(stream_batch(sales, ids, 0, pa.array(['{"x": 1}'])))
    commit_sales(lake, "r2", NEW)
    load(lake, table)
    assert held(table) == sorted([*OLD, *NEW, ("Hogar", "Norte", 1)])
    assert len(query(f"SELECT * FROM `{table.beside('ventas_unicas').path}`")) == 6
