"""Bringing the rows of an upload into the database, in batches."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from django.db import transaction

from . import flights, places, rows
from .models import Airport, RefusedRow, Upload
from .rows import Row

__all__ = ["BATCH", "ChunkImporter", "Importer", "read_upload"]

BATCH = 250
"""Rows written at once."""


def read_upload(upload: Upload) -> list[Row]:
    """Return the rows of an upload."""
    return rows.read(upload.content or places.AIRPORTS_CSV.read_text(encoding="utf-8"))


class Importer:
    """Imports rows one by one. As a context manager it begins anew, and writes what is left at the end."""

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.validator = rows.Validator()
        self.airports: list[Airport] = []
        self.refused: list[RefusedRow] = []
        self.countries: Counter[str] = Counter()
        self.hubs: Counter[str] = Counter()
        self.imported = self.refused_count = 0
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        # Whatever an earlier attempt at the same upload left.
        self.upload.forget_rows()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.write()

    def add(self, row: Row) -> None:
        """Import a row, or note why it is refused."""
        outcome = self.validator.airport(row)
        if isinstance(outcome, Airport):
            outcome.upload = self.upload
            outcome.hub = flights.nearest_hub(outcome.latitude, outcome.longitude).iata
            self.airports.append(outcome)
            self.countries[outcome.country] += 1
            self.hubs[outcome.hub] += 1
            self.imported += 1
        else:
            refused = RefusedRow(upload=self.upload, line=row.line, reasons=" ".join(outcome), values=row.values)
            self.refused.append(refused)
            self.refused_count += 1
        if len(self.airports) + len(self.refused) >= BATCH:
            self.write()

    def write(self) -> None:
        """Write the rows that were gathered."""
        with transaction.atomic():
            Airport.objects.bulk_create(self.airports)
            RefusedRow.objects.bulk_create(self.refused)
        self.airports.clear()
        self.refused.clear()

    def result(self) -> dict[str, Any]:
        """Return what the result page shows: JSON, for the process to keep."""
        return {
            "upload": self.upload.pk,
            "file": self.upload.name,
            "imported": self.imported,
            "refused": self.refused_count,
            "countries": self.countries.most_common(),
            "hubs": self.hubs.most_common(),
            "seconds": round(time.monotonic() - self.began, 1),
        }


class ChunkImporter(Importer):
    """Imports some rows of an upload, while others import the rest."""

    def __init__(self, upload: Upload, first: int, last: int) -> None:
        super().__init__(upload)
        every = read_upload(upload)
        self.rows = every[first:last]
        for row in every[:first]:
            # A code that stands in the file twice counts where it stands first.
            self.validator.lines.setdefault(row.values["icao"], row.line)

    def __enter__(self) -> Self:
        # Whatever an earlier attempt at the same rows left.
        known = self.validator.lines
        codes = [row.values["icao"] for row in self.rows if row.values["icao"] not in known]
        self.upload.airports.filter(icao__in=codes).delete()
        self.upload.refused_rows.filter(line__in=[row.line for row in self.rows]).delete()
        return self

    @property
    def lines(self) -> dict[str, int]:
        """The lines of the file at which its rows begin and end."""
        return {"first": self.rows[0].line, "last": self.rows[-1].line}
