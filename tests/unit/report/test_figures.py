from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from celes_beam.errors import IntegrityError
from celes_beam.report.figures import gather, make_figures
from celes_beam.report.lake_facts import describe_lake
from celes_beam.stores.lake.compact import compact
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_input import LakeInput, open_input
from celes_beam.stores.lake.manifest import Generated, InputRecord, RejectedExample
from tests.lakes import Sale, commit_sales, draft, reject

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SALES: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 176)]
DATES = [datetime(2024, 5, 31, 23, 59, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)] * 2
EXAMPLE = RejectedExample(reason="missing", source="lunes.csv", position=9, column="id_cliente")
LUNES = InputRecord(path="lunes.csv", size=9, version="1", rows_read=7, rows_accepted=3)


def found(root: Path) -> LakeInput:
    return open_input(str(root), NOW)


def test_sums_are_exact_after_appends_compactions_and_overwrites(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    commit_sales(lake, "uno", [("Vieja", "Nada", 999)])
    commit_sales(lake, "dos", SALES, kind="overwrite", dates=DATES[:3])
    commit_sales(lake, "tres", [("Ropa", "Norte", 1)])
    assert compact(lake, target_bytes=2**20) is not None
    read: list[tuple[int, int]] = []
    figures = make_figures(gather(found(tmp_path), lambda rows, size: read.append((rows, size))))
    assert msgspec.json.decode(msgspec.json.encode(figures)) == {
        "rows": 4,
        "total": "5.27",
        "mean": "1.317500",
        "first": "2024-05-03T12:00:00+00:00",
        "last": "2024-06-01T00:00:00+00:00",
        "categories": 2,
        "regions": 2,
        "by_category": [
            {"categoria_de_producto": "Ropa", "rows": 3, "total": "4.27", "share": "0.810247"},
            {"categoria_de_producto": "Hogar", "rows": 1, "total": "1.00", "share": "0.189753"},
        ],
        "by_region": [
            {"region_de_venta": "Sur", "rows": 2, "total": "4.26", "mean": "2.130000"},
            {"region_de_venta": "Norte", "rows": 2, "total": "1.01", "mean": "0.505000"},
        ],
        "by_month": [
            {"month": "2024-05", "rows": 3, "total": "2.77", "mean": "0.923333"},
            {"month": "2024-06", "rows": 1, "total": "2.50", "mean": "2.500000"},
        ],
        "other_categories": None,
        "other_regions": None,
    }
    whole = found(tmp_path)
    assert (sum(r for r, _ in read), sum(s for _, s in read)) == (4, whole.bytes)


def test_past_the_most_the_rest_is_one_line(tmp_path: Path) -> None:
    sales = [(f"c{n}", f"r{n}", n + 1) for n in range(5)]
    commit_sales(Lake.open(str(tmp_path)), "uno", sales)
    figures = make_figures(gather(found(tmp_path)), most=3)
    assert [c.categoria_de_producto for c in figures.by_category] == ["c4", "c3", "c2"]
    assert (figures.categories, figures.regions) == (5, 5)
    for rest in (figures.other_categories, figures.other_regions):
        assert rest is not None
        assert msgspec.to_builtins(rest) == {
            "names": 2,
            "rows": 2,
            "total": "0.03",
            "mean": "0.015000",
        }
    listed = sum(Decimal(c.total) for c in figures.by_category)
    assert listed + Decimal("0.03") == Decimal(figures.total)


def test_no_rows(tmp_path: Path) -> None:
    commit_sales(Lake.open(str(tmp_path)), "uno", [])
    figures = make_figures(gather(found(tmp_path)))
    assert (figures.rows, figures.total, figures.mean, figures.first) == (0, "0.00", None, None)
    assert (figures.by_category, figures.by_region, figures.by_month) == ((), (), ())


def test_files_that_do_not_hold_what_commits_say(tmp_path: Path) -> None:
    commit_sales(Lake.open(str(tmp_path)), "uno", SALES)
    whole = found(tmp_path)
    wrong = LakeInput(whole.root, whole.reader, whole.files[:1], whole.rows, whole.total)
    with pytest.raises(IntegrityError, match=r"hold 1 rows that sum to 1\.00, and its commits say"):
        gather(wrong)


def test_a_lake_is_described(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    commit_sales(lake, "uno", SALES, generated=Generated(seed=7, rows=3))
    dos = draft(lake, "dos", SALES, kind="overwrite", inputs=(LUNES,), rejected_examples=(EXAMPLE,))
    lake.commit(reject(lake, dos, 4))
    commit_sales(lake, "tres", SALES)
    compact(lake, target_bytes=2**20)
    facts = describe_lake(found(tmp_path))
    assert (facts.is_lake, facts.partition_by, facts.partitions) == (
        True,
        ("region_de_venta",),
        2,
    )
    # What was replaced is listed, and no longer counted.
    assert (facts.rows_read, facts.rows_accepted, facts.rows_rejected) == (10, 6, 4)
    assert facts.replaced_commits == 1
    assert [(r.reason, r.rows, r.examples) for r in facts.rejected] == [("missing", 4, (EXAMPLE,))]
    last, tres, second, uno = facts.commits
    assert (last.kind, last.live, last.files) == ("compact", 2, 2)
    assert (tres.run_id, tres.live, tres.first_input) == ("tres", 0, None)
    assert (second.first_input, second.inputs, second.rows_rejected) == ("lunes.csv", 1, 4)
    assert (uno.replaced, uno.seed) == (True, 7)
    few = describe_lake(found(tmp_path), most_commits=1)
    assert ([c.kind for c in few.commits], few.earlier_commits) == (["compact"], 3)
    assert few.rows_read == facts.rows_read


def test_a_plain_folder_has_no_runs(tmp_path: Path) -> None:
    commit_sales(Lake.open(str(tmp_path / "lake")), "uno", SALES)
    plain = tmp_path / "plain"
    plain.mkdir()
    for folder in (tmp_path / "lake").glob("region_de_venta=*"):
        folder.rename(plain / folder.name)
    facts = describe_lake(found(plain))
    assert (facts.is_lake, facts.files, facts.partitions, facts.commits) == (False, 2, 2, ())
    assert make_figures(gather(found(plain))).total == "5.26"
