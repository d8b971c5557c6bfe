"""The tables of the database, and its version."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    inspect,
    select,
    text,
)

from gcnet.ablation.row import Row

#: Raised with every change of the tables.
VERSION = 1


class Utc(TypeDecorator[str]):
    """A time as ISO 8601 text, UTC where it has no zone; in the database a timestamp in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        return time.replace(tzinfo=None) if dialect.name == "sqlite" else time

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> str | None:
        """From the database."""
        if value is None:
            return None
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()


metadata = MetaData()

runs = Table(
    "gcnet_runs",
    metadata,
    Column("key", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("score", Text, nullable=False),
    Column("score_value", Double),
    Column("metrics", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("added_parameters", BigInteger, nullable=False),
    Column("macs", BigInteger, nullable=False),
    Column("input_shape", JSON, nullable=False),
    Column("latency_ms", Double),
    Column("latency_ratio_low", Double),
    Column("latency_ratio_median", Double),
    Column("latency_ratio_high", Double),
    Column("memory_mb", Double),
    Column("seconds", Double),
    Column("threads", Integer, nullable=False),
    Column("versions", JSON, nullable=False),
    Column("hardware", JSON, nullable=False),
    Column("started", Utc, nullable=False),
    Column("finished", Utc, nullable=False),
    Column("sources", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("folder", Text, nullable=False),
)

studies = Table(
    "gcnet_studies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("definition", JSON, nullable=False),
    Column("saved", Utc, nullable=False),
)

failures = Table(
    "gcnet_failures",
    metadata,
    Column("key", Text, primary_key=True),
    Column("error", Text, nullable=False),
    Column("failed", Utc, nullable=False),
)

version = Table("gcnet_schema", metadata, Column("version", Integer, primary_key=True))

#: Every run beside its study and variant.
RESULTS_VIEW = """
CREATE VIEW gcnet_results AS SELECT studies.name AS study, variants.key AS variant, runs.*
FROM gcnet_studies AS studies
CROSS JOIN {each_variant} AS variants
CROSS JOIN {each_seed} AS seeds
JOIN gcnet_runs AS runs ON runs.key = seeds.value
"""
EACH = {
    "sqlite": ("json_each(studies.definition, '$.keys')", "json_each(variants.value)"),
    "postgresql": ("json_each(studies.definition -> 'keys')", "json_each_text(variants.value)"),
}


def create(connection: Connection) -> None:
    """Make the tables where there are none; the connection keeps others out.

    Raises:
        ValueError: a SQLite file of something else.
    """
    inspector = inspect(connection)
    if inspector.has_table(version.name):
        return
    dialect = connection.dialect.name
    if dialect == "sqlite" and inspector.get_table_names():
        raise ValueError(f"the file holds other tables, such as {inspector.get_table_names()[0]!r}; name a new file")
    metadata.create_all(connection)
    each_variant, each_seed = EACH[dialect]
    connection.execute(text(RESULTS_VIEW.format(each_variant=each_variant, each_seed=each_seed)))
    connection.execute(version.insert().values(version=VERSION))


def check(connection: Connection) -> None:
    """Whether this version of gcnet can read the tables.

    Raises:
        ValueError: no tables, or those of another version.
    """
    if not inspect(connection).has_table(version.name):
        raise ValueError("it holds no results of gcnet")
    found = connection.scalar(select(version.c.version))
    if found != VERSION:
        raise ValueError(f"its tables have version {found}, this gcnet knows {VERSION}: pip install --upgrade gcnet")


def values_of(row: Row) -> dict[str, Any]:
    """A row as its columns.

    The main score has one of its own, NULL if it is NaN: PostgreSQL takes NaN for the largest number.
    """
    values = {**row.to_dict(), "metrics": {name: float(value) for name, value in row.metrics.items()}}
    low, median, high = values.pop("latency_ratio")
    score = values["metrics"].get(row.score)
    return {
        **values,
        "score_value": None if score is None or math.isnan(score) else score,
        "latency_ratio_low": low,
        "latency_ratio_median": median,
        "latency_ratio_high": high,
    }


def row_of(record: Mapping[str, Any]) -> Row:
    """The inverse of :func:`values_of`; SQLite keeps NaN as NULL."""
    numbers = {name for name, column in runs.c.items() if isinstance(column.type, Double)}
    values = {name: math.nan if name in numbers and value is None else value for name, value in record.items()}
    values.pop("score_value")
    ratio = [values.pop(f"latency_ratio_{name}") for name in ("low", "median", "high")]
    return Row.from_dict({**values, "latency_ratio": ratio})
