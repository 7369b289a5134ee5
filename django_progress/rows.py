"""A whole row, read by the statement that changed it: what another one would cost again, and could find changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db import connections, models

__all__ = ["converted", "names"]


@lru_cache(maxsize=8)
def names(model: type[models.Model]) -> tuple[str, ...]:
    """Return the columns of a row, in the order in which :func:`converted` takes them."""
    return tuple(str(field.column) for field in model._meta.concrete_fields)


def converted(alias: str, model: type[models.Model], values: Sequence[Any]) -> dict[str, Any]:
    """Return what the database gave for a row as a query would have: by attribute, as Python knows it."""
    connection = connections[alias]
    row = {}
    for (name, expression, converters), value in zip(_fields(alias, model), values, strict=True):
        for convert in converters:
            value = convert(value, expression, connection)
        row[name] = value
    return row


@lru_cache(maxsize=8)
def _fields(alias: str, model: type[models.Model]) -> tuple[tuple[str, Any, list[Any]], ...]:
    connection = connections[alias]
    found = []
    for field in model._meta.concrete_fields:
        expression = field.get_col(model._meta.db_table)
        converters = [*connection.ops.get_db_converters(expression), *expression.get_db_converters(connection)]
        found.append((field.attname, expression, converters))
    return tuple(found)
