from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import ROOT, need_module

_SECONDS = 120


@pytest.mark.slow
def test_fuzzed_messages_become_rows(tmp_path: Path) -> None:
    need_module("atheris", "pip install -r requirements/dev.txt, on Linux and x86-64")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    arguments = [
        str(corpus),
        f"-max_total_time={_SECONDS}",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={tmp_path}/",
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzz_messages", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS + 150,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    done = re.search(r"Done (\d+) runs", ended.stderr)
    assert done, ended.stderr[-4000:]
    assert int(done[1]) > 1_000
