"""Coverage-guided fuzz of messages: ``python -m tests.fuzz.fuzz_messages FOLDER [libFuzzer flag]``.

An input is a byte that chooses how messages are read, then messages with ``MARK`` between them,
each after a byte that says whether it is compressed, and whether it says so.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["celes_beam.sales", "celes_beam.contract"]):
    from celes_beam.sales.messages import Drift, MessageRules
    from celes_beam.sales.texts import PLAIN_NOTATION, Notation
    from celes_beam.sales.transform import Transform

from tests.message_laws import obey_laws
from tests.messages import GZIP, SOURCE, VALUES, messages_of, sale

MARK = b"\xfe\xfe"
_PLAIN, _PACKED, _SAID, _CUT = range(4)
_NOTATIONS = (PLAIN_NOTATION, Notation(",", "dd/mm/yyyy"))
_TRANSFORMS = (None, None, None, Transform("tests.hooks:same"))


def check_input(data: bytes) -> None:
    """Check the messages of an input."""
    choice = data[0] if data else 0
    rules = MessageRules(
        SOURCE,
        drift=tuple(Drift)[choice % 3],
        notation=_NOTATIONS[choice // 4 % 4 == 3],
        transform=_TRANSFORMS[choice // 16 % 4],
        columns={"id_cliente": "household"} if choice & 0x80 else None,
    )
    bodies, attributes = [], []
    for message in data[1:].split(MARK) if len(data) > 1 else []:
        kind, body = (message[0] % 4 if message else _PLAIN), message[1:]
        said = kind != _PLAIN
        packed = gzip.compress(body, 1) if kind in (_PACKED, _CUT) else body
        bodies.append(packed[: len(packed) // 2] if kind == _CUT else packed)
        attributes.append(GZIP if said else {})
    obey_laws(messages_of(bodies, attributes), rules)


def seeds() -> list[bytes]:
    """Inputs to begin with: messages of each kind."""
    good, pretty = sale(), json.dumps(VALUES, indent=1).encode()
    bodies = [
        good,
        pretty,
        sale(tienda=[1, {"a": None}], id_cliente="7"),
        sale(cantidad_de_venta="7,5", fecha_de_transaccion="31/01/2024"),
        good[:-1] + b', "ID_Cliente": 2}',
        b"[%b,%b]" % (good, sale(id_cliente=-1)),
        b"[1, %b\n, []]" % pretty,
        good + b"\r\n\n" + sale(region_de_venta="") + b"\nx\n",
        b"\xef\xbb\xbf" + good.replace(b"id_cliente", b"household"),
        b"",
    ]
    kinds = [bytes([kind]) + body for kind in range(4) for body in bodies]
    mixed = [kinds[0], kinds[5], kinds[12], kinds[17]]
    return [b"\x01" + kind for kind in kinds] + [
        bytes([choice]) + MARK.join(mixed) for choice in (0, 1, 2, 0x0C, 0x30, 0x82)
    ]


def main(argv: list[str]) -> None:
    """Fuzz with a corpus in the folder that is the first argument."""
    corpus = Path(argv[1])
    for i, seed in enumerate(seeds()):
        (corpus / f"seed-{i:02d}").write_bytes(seed)
    atheris.Setup(argv, check_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
