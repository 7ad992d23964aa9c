"""Globs over whole paths, the same on a disk and in a bucket."""

from __future__ import annotations

import re

MAGIC = re.compile(r"[*?\[]")
HIDDEN = ("_", ".")
"""What begins with one of these is not read, as Spark, Dask and pyarrow have it."""


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Translate a glob into a pattern for whole paths; folders that match bring all below them."""
    parts = []
    names = glob.split("/")
    for i, name in enumerate(names):
        last = i == len(names) - 1
        if name == "**":
            # A hidden folder is crossed only when it is named.
            parts.append(r"(?:[^/._][^/]*/)*" + (r"[^/._][^/]*" if last else ""))
        else:
            parts.append(_name_pattern(name) + ("" if last else "/"))
    return re.compile("".join(parts) + r"(?:/[^/._][^/]*)*", re.DOTALL)


def _name_pattern(name: str) -> str:
    pattern = "" if name[:1] in HIDDEN or not MAGIC.search(name) else "(?![._])"
    at = 0
    while at < len(name):
        char = name[at]
        close = name.find("]", at + 2)
        if char == "*":
            pattern += "[^/]*"
        elif char == "?":
            pattern += "[^/]"
        elif char == "[" and close > 0:
            inside = re.sub(r"([\\^\[\]&~|])", r"\\\1", name[at + 1 : close])
            pattern += f"(?!/)[{'^' + inside[1:] if inside.startswith('!') else inside}]"
            at = close
        else:
            pattern += re.escape(char)
        at += 1
    return pattern
