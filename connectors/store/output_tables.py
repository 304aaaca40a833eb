"""Outputs as rows: the table of a stored kind of output follows from the fields of its record.

A column is an attribute of the record, and nullable where its type allows None. Text, numbers and bytes are stored as
they are. A nested value is JSON text, or MessagePack where it holds bytes. An unknown number is NULL, or null in JSON.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from sqlalchemy import Boolean, Column, Connection, Double, Index, LargeBinary, Row, Select, Table, select
from sqlalchemy.types import BigInteger, TypeEngine

from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS, OutputKind, stored_kinds
from driftgauge.connectors.store import schema
from driftgauge.connectors.store.rows import Values, plain

R = TypeVar("R")

_PLAIN: Mapping[Any, TypeEngine[Any]] = {
    str: schema.TEXT,
    int: BigInteger(),
    float: Double(),
    bool: Boolean(),
    bytes: LargeBinary(),
}


class _Attribute(NamedTuple):
    """An attribute of a record that is a column."""

    name: str
    type: TypeEngine[Any]
    is_nullable: bool
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_ATTRIBUTES: dict[type, tuple[_Attribute, ...]] = {}


def create_tables(connection: Connection) -> None:
    """Create every table that the store does not have yet."""
    for kind in stored_kinds():
        output_table(kind.record)
    schema.METADATA.create_all(connection)


def output_table(record: type) -> Table:
    """The table of the outputs with this type of record."""
    kind = OUTPUT_KINDS[record]
    known = schema.METADATA.tables.get(kind.table)
    return _table(kind) if known is None else known


def output_values(output: Any) -> Values:
    """The row of an output."""
    attributes = _attributes(type(output))
    values = ((a.name, a.encode, getattr(output, a.name)) for a in attributes)
    return {name: None if value is None else encode(value) for name, encode, value in values}


def output_from(record: type[R], row: Row[Any]) -> R:
    """The output that a row holds."""
    names = {item.name for item in fields(record)}  # type: ignore[arg-type]  # records are dataclasses
    values = ((a.name, a.decode, row._mapping[a.name]) for a in _attributes(record) if a.name in names)
    return record(**{name: None if value is None else decode(value) for name, decode, value in values})


def newest_outputs(record: type, limit: int) -> Select[*tuple[Any, ...]]:
    """The newest rows of one kind of output, newest first."""
    kind, table = OUTPUT_KINDS[record], output_table(record)
    newest_first = [table.c[kind.event_time].desc(), table.c.key.desc()] if kind.event_time else [table.c.seq.desc()]
    return select(table).order_by(*newest_first).limit(limit)


def _table(kind: OutputKind[Any]) -> Table:
    columns = [
        Column(a.name, a.type, nullable=a.is_nullable, primary_key=kind.is_keyed and a.name == "key")
        for a in _attributes(kind.record)
    ]
    make = schema.table if kind.is_keyed else schema.numbered
    table = make(kind.table, *columns)
    for name, indexed in kind.indexes.items():
        Index(name, *(table.c[column] for column in indexed))
    return table


def _attributes(record: type) -> tuple[_Attribute, ...]:
    if record not in _ATTRIBUTES:
        _ATTRIBUTES[record] = _attributes_of(record)
    return _ATTRIBUTES[record]


def _attributes_of(record: type) -> tuple[_Attribute, ...]:
    hints = get_type_hints(record)
    for name, value in vars(record).items():
        if isinstance(value, property):
            hints[name] = get_type_hints(value.fget)["return"]
    names = OUTPUT_KINDS[record].columns or ("key", *(item.name for item in fields(record)))
    return tuple(_attribute(name, hints[name]) for name in names)


def _attribute(name: str, hint: Any) -> _Attribute:
    options = get_args(hint)
    is_nullable = NoneType in options
    if is_nullable:
        (hint,) = (option for option in options if option is not NoneType)
    if get_origin(hint) is Literal:
        hint = str
    if hint in _PLAIN:
        return _Attribute(name, _PLAIN[hint], is_nullable, plain, _unchanged)
    if _holds_bytes(hint):
        packed = msgspec.msgpack.Decoder(hint)
        return _Attribute(name, LargeBinary(), is_nullable, msgspec.msgpack.encode, packed.decode)
    return _Attribute(name, schema.TEXT, is_nullable, _to_json, _from_json(hint))


def _holds_bytes(hint: Any) -> bool:
    return hint is bytes or any(map(_holds_bytes, get_args(hint)))


def _unchanged(value: Any) -> Any:
    return value


def _to_json(value: Any) -> str:
    builtin = dict(value) if isinstance(value, Mapping) else value
    return msgspec.json.encode(builtin, enc_hook=plain).decode()


def _from_json(hint: Any) -> Callable[[str], Any]:
    if get_origin(hint) is Mapping:
        return _named_numbers
    return msgspec.json.Decoder(hint).decode


def _named_numbers(text: str) -> dict[str, float]:
    """A mapping whose unknown numbers are null."""
    return {name: math.nan if value is None else value for name, value in msgspec.json.decode(text).items()}
