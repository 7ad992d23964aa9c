"""One configuration for every pipeline: defaults, then a YAML or TOML file, then flags."""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from celes_beam.contract import (
    CATEGORY,
    MAX_CENTS,
    MAX_FOLDER_BYTES,
    REGION,
    Rules,
    can_name_folder,
    normalize_text,
)
from celes_beam.errors import ConfigError

DEFAULT_CATEGORIES = (
    "Alimentos",
    "Bebidas",
    "Hogar",
    "Limpieza",
    "Electrónica",
    "Ropa",
    "Calzado",
    "Juguetes",
    "Deportes",
    "Farmacia",
)
DEFAULT_REGIONS = ("Norte", "Sur", "Este", "Oeste", "Centro", "Caribe")
_DEFAULT_CATEGORY_WEIGHTS: dict[str, float] = dict(
    zip(DEFAULT_CATEGORIES, (30, 16, 9, 11, 5, 10, 5, 4, 4, 6), strict=True)
)
_DEFAULT_REGION_WEIGHTS: dict[str, float] = dict(
    zip(DEFAULT_REGIONS, (18, 14, 12, 13, 35, 8), strict=True)
)
_DEFAULT_PRICES = {
    "Alimentos": ("0.50", "120"),
    "Bebidas": ("0.80", "90"),
    "Hogar": ("5", "900"),
    "Limpieza": ("1", "60"),
    "Electrónica": ("15", "6000"),
    "Ropa": ("6", "450"),
    "Calzado": ("15", "380"),
    "Juguetes": ("3", "260"),
    "Deportes": ("8", "1200"),
    "Farmacia": ("1.50", "240"),
}
_OTHER_PRICES = (Decimal("1"), Decimal("500"))


_SHOWN_CHARACTERS = 100
_FLAGS = ("rows", "seed", "batch_rows", "categories", "regions")


def _distinct_texts(texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    normal = tuple(normalize_text(t) for t in texts)
    if not normal:
        raise ValueError("at least one is needed")
    if any(not t for t in normal):
        raise ValueError("blank texts are not accepted")
    column = CATEGORY if info.field_name == "categories" else REGION
    for text in normal:
        if "\0" in text:
            raise ValueError(f"{_shown(text)} holds a NUL character, which no text may")
        if not can_name_folder(column, text):
            raise ValueError(
                f"{_shown(text)} cannot name a folder of a lake: it is Hive's name for null, or "
                f"with {column}= in front longer than {MAX_FOLDER_BYTES} bytes"
            )
    doubles = sorted({t for t in normal if normal.count(t) > 1})
    if doubles:
        raise ValueError(f"each may stand once, but {', '.join(doubles)} stands more often")
    return normal


def _normal_names(values: dict[str, Any]) -> dict[str, Any]:
    return {normalize_text(name): value for name, value in values.items()}


Names = AfterValidator(_normal_names)
Int = Annotated[int, Strict()]
Weight = Annotated[float, Strict(), Field(gt=0, le=1e6, allow_inf_nan=False)]
Texts = Annotated[tuple[str, ...], AfterValidator(_distinct_texts), Field(max_length=4096)]
Price = Annotated[Decimal, Field(gt=0, le=Decimal(MAX_CENTS) / 100, decimal_places=2)]


class Config(BaseModel):
    """Rows, batches, seed, and the world the generated sales live in; immutable once made.

    Prices are in currency units with at most 2 decimals; weights are relative to one another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Int = Field(10_000_000, ge=0, le=10**12)
    batch_rows: Int = Field(1_000_000, ge=1, le=16_000_000)
    seed: Int = Field(42, ge=0, lt=2**63)
    categories: Texts = DEFAULT_CATEGORIES
    regions: Texts = DEFAULT_REGIONS
    category_weights: Annotated[dict[str, Weight], Names] = Field(
        default_factory=_DEFAULT_CATEGORY_WEIGHTS.copy
    )
    region_weights: Annotated[dict[str, Weight], Names] = Field(
        default_factory=_DEFAULT_REGION_WEIGHTS.copy
    )
    prices: Annotated[dict[str, tuple[Price, Price]], Names] = Field(
        default_factory=lambda: {
            k: (Decimal(a), Decimal(b)) for k, (a, b) in _DEFAULT_PRICES.items()
        }
    )
    customers: Int = Field(250_000, ge=1, le=2**40)
    first_date: date = Field(date(2024, 1, 1), ge=date(2000, 1, 1))
    last_date: date = date(2025, 12, 31)
    month_weights: tuple[Weight, ...] = Field(
        (0.8, 0.8, 0.9, 0.95, 1.05, 1, 0.95, 0.95, 0.95, 1, 1.25, 1.7), min_length=12, max_length=12
    )
    weekday_weights: tuple[Weight, ...] = Field(
        (0.8, 0.8, 0.85, 0.95, 1.25, 1.4, 0.95), min_length=7, max_length=7
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.last_date < self.first_date:
            raise ValueError(f"last_date={self.last_date} is before first_date={self.first_date}")
        for name, (low, high) in self.prices.items():
            if high < low:
                raise ValueError(
                    f"prices of {name!r}: the highest, {high}, is below the lowest, {low}"
                )
        self._check_names("category_weights", self.categories, DEFAULT_CATEGORIES)
        self._check_names("prices", self.categories, DEFAULT_CATEGORIES)
        self._check_names("region_weights", self.regions, DEFAULT_REGIONS)
        return self

    def _check_names(self, field: str, configured: Sequence[str], defaults: Sequence[str]) -> None:
        known = list(dict.fromkeys([*configured, *defaults]))
        for name in getattr(self, field):
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0)
                raise ValueError(
                    f"{field}: {_shown(name)} is not configured; the nearest that is there is "
                    f"{near[0]!r}"
                )

    def category_weight(self, category: str) -> float:
        """The relative weight of a category; 1 when none is configured."""
        return self.category_weights.get(category, 1.0)

    def region_weight(self, region: str) -> float:
        """The relative weight of a region; 1 when none is configured."""
        return self.region_weights.get(region, 1.0)

    def price_range(self, category: str) -> tuple[Decimal, Decimal]:
        """Lowest and highest price of a category; 1 to 500 when none is configured."""
        return self.prices.get(category, _OTHER_PRICES)

    def rules(self, started: datetime, *, generated: bool) -> Rules:
        """What a run accepts; of files, any category and region unless some are configured."""
        asked = self.model_fields_set
        return Rules(
            started=started,
            categories=self.categories if generated or "categories" in asked else None,
            regions=self.regions if generated or "regions" in asked else None,
        )


def load_config(path: str | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Make the Config of a run from defaults, the file at ``path``, and ``flags``, in rising order.

    Flags that are ``None`` were not given. Raises ``ConfigError`` naming the field, its value and
    what is expected.
    """
    values = {} if path is None else _read_file(path)
    values.update({k: v for k, v in (flags or {}).items() if v is not None})
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from error


def config_from_flags(flags: argparse.Namespace) -> Config:
    """Make the Config of a command line: ``--config`` and the flags that override its fields."""
    return load_config(flags.config, {name: getattr(flags, name, None) for name in _FLAGS})


def _read_file(path: str) -> dict[str, Any]:
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"--config {path}: no such file; give a YAML or TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}") from error
    try:
        loaded = tomllib.loads(text) if file.suffix.lower() == ".toml" else _read_yaml(text)
    # What Python's own types refuse, such as integers of thousands of digits, is a ValueError.
    except (ValueError, yaml.YAMLError) as error:
        kind = "TOML" if file.suffix.lower() == ".toml" else "YAML"
        where = _cut(" ".join(str(error).split()))
        raise ConfigError(f"--config {path} is not valid {kind}: {where}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"--config {path} holds a {type(loaded).__name__}: expected 'field: value' lines, "
            "such as 'rows: 1000'"
        )
    return dict(loaded)


class _YamlLoader(yaml.SafeLoader):
    """Refuses keys that stand twice, of which YAML forbids all and PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {_shown(key)} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _read_yaml(text: str) -> Any:
    return yaml.load(text, _YamlLoader)


def _cut(text: str, characters: int = 3 * _SHOWN_CHARACTERS) -> str:
    return text if len(text) <= characters else text[:characters] + "…"


def _shown(value: Any) -> str:
    try:
        return _cut(repr(value), _SHOWN_CHARACTERS)
    except ValueError:
        # Python writes no integer of thousands of digits.
        return f"a very long {type(value).__name__}"


def _explain(error: ValidationError, path: str | None) -> str:
    problems = []
    for item in error.errors(include_url=False):
        name = _cut(".".join(_one_line(part) for part in item["loc"]), _SHOWN_CHARACTERS)
        if item["type"] == "extra_forbidden":
            known = ", ".join(Config.model_fields)
            problems.append(f"{name} is not a field of the configuration; the fields are {known}")
        elif not name:
            problems.append(_cut(item["msg"].removeprefix("Value error, ")))
        else:
            expected = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            problems.append(f"{name}={_shown(item['input'])}: expected {_cut(expected)}")
    return ("; ".join(problems)) + (f" (flags and {path})" if path else "")


def _one_line(key: str | int) -> str:
    text = str(key)
    return text if text.isprintable() else repr(text)
