#!/usr/bin/env bash
# Make what stands in for Google's base images where no registry answers, into .tools/image:
#   base.tar     a minimal Debian with Python 3.11
#   boot         Beam's real entry point of workers, of the version of the lock
#   wheelhouse/  the packages of requirements/run.txt, by their hashes
# Needs root, Go and Debian's mmdebstrap. What is there already, and of this lock, is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
parts=.tools/image
python=${PYTHON:-.venv/bin/python}
mkdir -p "$parts"

if ! [ -s "$parts/base.tar" ]; then
  command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: apt-get install mmdebstrap" >&2; exit 1; }
  # Debian's Python is called python3, and Beam's image has it as python; pip is to write into it.
  # shellcheck disable=SC2016 # mmdebstrap expands $1, the folder of the system
  mmdebstrap -q --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip \
    --customize-hook='rm -f "$1"/usr/lib/python3.11/EXTERNALLY-MANAGED' \
    --customize-hook='ln -s /usr/bin/python3 "$1"/usr/local/bin/python' \
    bookworm "$parts/base.part.tar"
  mv "$parts/base.part.tar" "$parts/base.tar"
fi

beam=$(sed -n 's/^apache-beam\[\{0,1\}[a-z]*\]\{0,1\}==\([0-9.]*\).*/\1/p' requirements/run.txt)
if ! [ -x "$parts/boot-$beam" ]; then
  GOBIN="$PWD/$parts" go install "github.com/apache/beam/sdks/v2/python/container@v$beam"
  mv "$parts/container" "$parts/boot-$beam"
fi
cp "$parts/boot-$beam" "$parts/boot"

lock=$(sha256sum requirements/run.txt | cut -d' ' -f1)
if [ "$(cat "$parts/wheelhouse/.lock" 2>/dev/null)" != "$lock" ]; then
  rm -rf "$parts/wheelhouse"
  "$python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
    -r requirements/run.txt -d "$parts/wheelhouse"
  echo "$lock" > "$parts/wheelhouse/.lock"
fi
echo "$parts is ready"
