"""``celes-beam report``: what the command line accepts, writes and says."""

from __future__ import annotations

from pathlib import Path

import pytest

from celes_beam import cli
from celes_beam.report.comparison import encode_comparison
from celes_beam.stores.lake.lake import Lake
from tests.comparisons import comparison
from tests.lakes import Sale, commit_sales
from tests.report_pages import Page, check_tables

SALES: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 175)]


@pytest.fixture
def root(tmp_path: Path) -> str:
    root = str(tmp_path / "el lago")
    commit_sales(Lake.open(root), "uno", SALES)
    return root


def test_a_report_is_written_in_place_of_the_last(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = tmp_path / "comparison.json"
    compared.write_bytes(encode_comparison(comparison()))
    output = tmp_path / "r.html"
    assert cli.main(["report", "-i", root, "-o", str(output)]) == 0
    first = Page(output.read_text("utf-8"))
    check_tables(first, "es")
    flags = ["--lang", "en", "--comparison", str(compared), "--progress", "off"]
    assert cli.main(["report", "-i", root, "-o", str(output), *flags]) == 0
    page = Page(output.read_text("utf-8"))
    check_tables(page, "en")
    assert "engines-1000" in page.tables
    out, err = capsys.readouterr()
    assert err == ""
    said = " ".join(out.split())
    assert "sales 3 total 5.25 categories 2 regions 2 months 1" in said
    assert f"Report in {output}" in out
    assert {p.name for p in tmp_path.iterdir()} == {"el lago", "comparison.json", "r.html"}


def test_a_folder_of_others_with_columns_of_other_names(root: str, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path / "plain"
    folder.mkdir()
    for n, file in enumerate(sorted(Path(root).glob("*/*.parquet"))):
        table = pq.ParquetFile(file).read()
        names = ["importe" if c == "cantidad_de_venta" else c for c in table.column_names]
        table = table.rename_columns(names)
        table = table.append_column("region_de_venta", [[f"r{n}"] * len(table)])
        pq.write_table(table, folder / f"{n}.parquet")
    output = tmp_path / "r.html"
    flags = ["--columns", "cantidad_de_venta=importe", "--output", str(output)]
    assert cli.main(["report", "--input", str(folder), *flags]) == 0
    page = Page(output.read_text("utf-8"))
    check_tables(page, "es")
    assert "Esta carpeta no es un lago de celes-beam" in page.text


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--lang", "fr"], "invalid choice: 'fr'"),
        (["--output", "gs://b/r.html"], "--output gs://b/r.html: expected a file on this machine"),
        (["--output", "{root}/r.html"], "r.html is inside {root}, where every file is data"),
        (["--output", "{root}/no/r.html"], "is inside {root}"),
        (["--output", "/no/such/r.html"], "--output /no/such/r.html cannot be written"),
        (["--comparison", "/no/c.json"], "--comparison /no/c.json cannot be read: No such file"),
        (["--comparison", "{root}"], "cannot be read: Is a directory"),
        (["--columns", "id_cliente=x"], "--columns is for plain folders"),
    ],
)
def test_flags_that_cannot_be_used(
    flags: list[str],
    told: str,
    root: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = [flag.format(root=root) for flag in flags]
    assert cli.main(["report", "--input", root, *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told.format(root=root) in line
    assert not list(tmp_path.rglob("*.html"))


def test_where_there_is_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "r.html")
    assert cli.main(["report", "--input", str(tmp_path / "none"), "--output", output]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert cli.main(["report", "--output", output]) == 2
    assert "--input" in capsys.readouterr().err


def test_a_damaged_lake_gives_no_report(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(Path(root).glob("*/*.parquet")).unlink()
    output = tmp_path / "r.html"
    assert cli.main(["report", "--input", root, "--output", str(output)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is gone" in line
    assert not output.exists()
