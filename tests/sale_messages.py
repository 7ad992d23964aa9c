"""Messages of known sales for tests: message n holds a sale of n + 1 cents, or a broken one."""

from __future__ import annotations

from collections.abc import Iterable

from celes_beam.sales.messages import MessageRules, Messages

SOURCE = "pubsub:projects/p/subscriptions/s"
RULES = MessageRules(source=SOURCE)
PUBLISHED = 1_750_000_000_000_000


def is_broken(number: int) -> bool:
    return number % 10 == 7


def sale_messages(numbers: Iterable[int], *, regions: int = 3) -> Messages:
    """The messages of some numbers, whose ids are ``m<number>``."""
    numbers = list(numbers)
    data = [
        b'{"id_cliente":%d,"fecha_de_transaccion":"2024-05-03","cantidad_de_venta":%s,'
        b'"categoria_de_producto":"Hogar","region_de_venta":"R%d"}'
        % (
            n + 1,
            b'"x"' if is_broken(n) else b"%d.%02d" % divmod(n + 1, 100),
            n % regions,
        )
        for n in numbers
    ]
    count = len(numbers)
    return Messages(data, [{}] * count, [f"m{n}" for n in numbers], [PUBLISHED] * count)


def accepted_ids(numbers: Iterable[int]) -> list[str]:
    return sorted(f"m{n}" for n in numbers if not is_broken(n))


def rejected_ids(numbers: Iterable[int]) -> list[str]:
    return sorted(f"m{n}" for n in numbers if is_broken(n))


def cents(numbers: Iterable[int]) -> int:
    return sum(n + 1 for n in numbers if not is_broken(n))
