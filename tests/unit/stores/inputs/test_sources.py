import pickle
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from celes_beam.config import Config
from celes_beam.contract import CATEGORY, COLUMN_NAMES, SCHEMA, Rules
from celes_beam.errors import ColumnError, InputChangedError
from celes_beam.sales.generate import Generator
from celes_beam.stores.inputs import sources
from celes_beam.stores.inputs.files import InputFile, list_inputs
from celes_beam.stores.inputs.read import ReadOptions
from celes_beam.stores.inputs.sources import (
    MOST_TOGETHER,
    FileGroup,
    GeneratedSales,
    GeneratedShard,
    SalesFiles,
    WholeFile,
)

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def test_shards_cover_the_rows_once() -> None:
    config = Config(rows=10, batch_rows=4)

    shards = GeneratedSales(config, config.rules(STARTED, generated=True)).shards()

    assert shards == [GeneratedShard(0, 4), GeneratedShard(4, 4), GeneratedShard(8, 2)]


def test_no_rows_are_one_shard_so_that_they_are_committed() -> None:
    config = Config(rows=0)
    source = GeneratedSales(config, config.rules(STARTED, generated=True))

    assert source.shards() == [GeneratedShard(0, 0)]
    assert list(source.read(GeneratedShard(0, 0))) == []


def test_pieces_of_a_shard_cover_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_PIECE_ROWS", 3)
    config = Config()
    source = GeneratedSales(config, config.rules(STARTED, generated=True))

    assert source.pieces(GeneratedShard(10, 7)) == [
        GeneratedShard(10, 3),
        GeneratedShard(13, 3),
        GeneratedShard(16, 1),
    ]


def test_generated_rows_are_checked_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SLICE_ROWS", 300)
    config = Config()
    source = pickle.loads(
        pickle.dumps(GeneratedSales(config, config.rules(STARTED, generated=True)))
    )

    parts = list(source.read(GeneratedShard(50, 1000)))

    assert [p.rows for p in parts] == [300, 300, 300, 100]
    table = pa.Table.from_batches([_plain(p.accepted) for p in parts])
    assert table.to_batches()[0].schema == SCHEMA
    assert table.combine_chunks().equals(
        pa.Table.from_batches([Generator(config).batch(50, 1000)]).combine_chunks()
    )
    assert source.progress_of(GeneratedShard(50, 1000)) == 1000


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.cast(SCHEMA)


def test_generated_rows_that_break_a_rule_are_rejected_not_lost() -> None:
    config = Config()
    strict = Rules(started=STARTED, categories=("Hogar",))

    (part,) = GeneratedSales(config, strict).read(GeneratedShard(7, 500))

    kept = [c == "Hogar" for c in Generator(config).batch(7, 500).column(CATEGORY).to_pylist()]
    assert part.accepted.num_rows == sum(kept)
    assert part.rejected.column("position").to_pylist() == [
        7 + i for i, k in enumerate(kept) if not k
    ]
    assert set(part.rejected.column("source").to_pylist()) == {"generated:seed=42"}


def test_files_are_planned_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",".join(COLUMN_NAMES) + "\n7,2024-05-03,12.34,Hogar,Norte\nx\n")
    source = SalesFiles(ReadOptions(), Rules(started=STARTED))

    (shard,) = [s for f in list_inputs([str(path)]) for s in source.plan(f)]
    parts = list(source.read(shard))

    assert sum(p.rows for p in parts) == 2
    assert sum(p.accepted.num_rows for p in parts) == 1
    assert source.progress_of(shard) > 0


def test_a_file_that_is_no_sales_is_a_shard_that_says_so_where_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("no,sales\n")
    (file,) = list_inputs([str(path)])
    rules = Rules(started=STARTED)
    with pytest.raises(ColumnError):
        SalesFiles(ReadOptions(), rules).plan(file)
    source = SalesFiles(ReadOptions(), rules, sets_aside=True)

    (shard,) = pickle.loads(pickle.dumps(source.plan(file)))

    assert (source.source_of(shard), source.progress_of(shard)) == (str(path), file.size)
    assert source.pieces(shard) == [shard]
    with pytest.raises(ColumnError, match=r"a\.csv"):
        list(source.read(shard))


def test_a_damaged_file_that_changed_is_told_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("no,sales\n")
    (file,) = list_inputs([str(path)])
    source = SalesFiles(ReadOptions(), Rules(started=STARTED), sets_aside=True)
    path.write_text("no,sales,yet\n")

    (shard,) = source.plan(file)

    with pytest.raises(InputChangedError, match="changed since it was listed"):
        list(source.read(shard))
    path.unlink()
    (shard,) = source.plan(file)
    with pytest.raises(InputChangedError, match="gone since it was listed"):
        list(source.read(shard))


def test_small_files_are_grouped_and_opened_by_their_reader_alone(tmp_path: Path) -> None:
    source = SalesFiles(ReadOptions(range_bytes=1000), Rules(started=STARTED))
    small = [InputFile(str(tmp_path / f"{n:05d}.csv"), 30, "1") for n in range(1000)]
    large = InputFile(str(tmp_path / "large.csv"), 1001, "1")
    groups = list(source.groups([*small[:500], large, *small[500:]]))
    assert FileGroup((large,)) in groups
    assert len(groups) == 1 + 1000 // 33 + 1
    assert all(sum(f.size for f in g.files) <= 1001 for g in groups)
    assert [f for g in groups if g.files != (large,) for f in g.files] == small
    # None of the files is there.
    together = [g for g in groups if g.files != (large,)]
    assert [s for g in together for s in source.split(g)] == together
    assert source.pieces(together[0]) == [WholeFile(f) for f in together[0].files]
    assert sum(map(source.progress_of, source.pieces(together[0]))) == source.progress_of(
        together[0]
    )


def test_a_group_has_a_few_hundred_files_at_most() -> None:
    source = SalesFiles(ReadOptions(), Rules(started=STARTED))
    files = [InputFile(f"{n}.csv", 1, "1") for n in range(100_000)]
    groups = list(source.groups(iter(files)))
    assert len(groups) == -(-100_000 // MOST_TOGETHER)
    assert sum(len(g.files) for g in groups) == 100_000


def test_a_whole_file_is_read_as_its_ranges_are(tmp_path: Path) -> None:
    path = tmp_path / "ventas.csv"
    path.write_text(
        "id_cliente,fecha_de_transaccion,cantidad_de_venta,categoria_de_producto,region_de_venta\n"
        + "7,2024-01-02,1.50,Ropa,Sur\n" * 50
    )
    source = SalesFiles(ReadOptions(range_bytes=10_000), Rules(started=STARTED))
    (group,) = source.groups(list_inputs([str(path)]))
    (shard,) = pickle.loads(pickle.dumps(source.split(group)))
    (piece,) = source.pieces(shard)
    assert source.source_of(piece) == str(path)
    assert sum(found.accepted.num_rows for found in source.read(piece)) == 50
    assert sum(found.accepted.num_rows for found in source.read(shard)) == 50
    split = SalesFiles(ReadOptions(range_bytes=200), Rules(started=STARTED))
    (group,) = split.groups(list_inputs([str(path)]))
    shards = split.split(group)
    assert len(shards) > 5
    assert sum(f.accepted.num_rows for s in shards for f in split.read(s)) == 50
