"""Reading a CSV of airports: what a file must have, and what a row must be."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .models import Airport

__all__ = ["COLUMNS", "MAX_BYTES", "MAX_ROWS", "REQUIRED", "Row", "Validator", "decode", "read", "spreadsheet_safe"]

REQUIRED = ("icao", "name", "country", "lat", "lon")
COLUMNS = (*REQUIRED, "iata", "city", "elevation")
MAX_BYTES = 5_000_000
MAX_ROWS = 100_000
BEYOND = "…"
"""The name under which a row keeps its cells beyond the last column."""

_capitals = re.compile(r"[A-Z0-9]+")
_decimal = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class Row(NamedTuple):
    """A row of a file, and the line of the file where it ends."""

    line: int
    values: dict[str, str]


# Files


def decode(data: bytes) -> str:
    """Return the text of an uploaded file. Raises ``ValidationError`` with what to do about it."""
    if not data.strip():
        raise ValidationError(_("This file is empty."))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValidationError(
            _("This file is not UTF-8 (see line %(line)d). Save it as “CSV UTF-8” and try again.") % {"line": line}
        ) from None
    if "\0" in text:
        raise ValidationError(_("This is not a text file."))
    return text


def read(text: str) -> list[Row]:
    """Return the rows of a CSV. Raises ``ValidationError`` for wrong columns, and for no or too many rows."""
    lines = csv.DictReader(io.StringIO(text, newline=""), restval="")
    try:
        header = [name.strip().lower() for name in lines.fieldnames or ()]
        lines.fieldnames = header
        if missing := [name for name in REQUIRED if name not in header]:
            raise ValidationError(
                ngettext(
                    "The column %(names)s is missing. The first line must name at least: %(required)s.",
                    "The columns %(names)s are missing. The first line must name at least: %(required)s.",
                    len(missing),
                )
                % {"names": ", ".join(missing), "required": ", ".join(REQUIRED)}
            )
        rows = list(_rows(lines))
    except csv.Error as error:
        raise ValidationError(
            _("This is not a CSV file: %(error)s (line %(line)d).") % {"error": error, "line": lines.line_num}
        ) from None
    if not rows:
        raise ValidationError(_("There are no rows below the first line."))
    return rows


def _rows(lines: csv.DictReader[str]) -> Iterator[Row]:
    for number, values in enumerate(lines, 1):
        if number > MAX_ROWS:
            raise ValidationError(_("This file has more than %(limit)s rows.") % {"limit": f"{MAX_ROWS:,}"})
        # Under None stands what is beyond the last column.
        beyond = values.pop(None, None)
        cells = {name: value.strip() for name, value in values.items()}
        yield Row(lines.line_num, cells | {BEYOND: ",".join(beyond)} if beyond else cells)


# Rows


class Validator:
    """Tells the rows of one file that can be imported from those that can't."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}

    def airport(self, row: Row) -> Airport | list[str]:
        """Return the airport that ``row`` describes, not saved, or the reasons why there is none."""
        reasons: list[str] = []
        values = row.values
        airport = Airport(
            icao=_code(values["icao"], 4, "icao", reasons),
            iata=_code(values["iata"], 3, "iata", reasons) if values.get("iata") else "",
            name=_text(values["name"], "name", reasons, required=True),
            city=_text(values.get("city", ""), "city", reasons),
            country=_country(values["country"], reasons),
            latitude=_number(values["lat"], "lat", -90, 90, reasons),
            longitude=_number(values["lon"], "lon", -180, 180, reasons),
            elevation=_number(values["elevation"], "elevation", -2_000, 30_000, reasons)
            if values.get("elevation")
            else None,
        )
        if BEYOND in values:
            reasons.append(_("There are more cells than columns."))
        if airport.icao:
            first = self.lines.setdefault(airport.icao, row.line)
            if first != row.line:
                reasons.append(
                    _("icao: %(code)s stands in line %(line)d already.") % {"code": airport.icao, "line": first}
                )
        return reasons or airport


def _code(value: str, length: int, column: str, reasons: list[str]) -> str:
    if len(value) == length and _capitals.fullmatch(value):
        return value
    if value:
        reasons.append(
            _("%(column)s: “%(value)s” is no code of %(length)d capital letters or digits.")
            % {"column": column, "value": value[:40], "length": length}
        )
    else:
        reasons.append(_("%(column)s is missing.") % {"column": column})
    return ""


def _country(value: str, reasons: list[str]) -> str:
    if not re.fullmatch(r"[A-Z]{2}", value):
        reasons.append(_("country: “%(value)s” is no code of two capital letters.") % {"value": value[:40]})
    return value


def _text(value: str, column: str, reasons: list[str], *, required: bool = False) -> str:
    if required and not value:
        reasons.append(_("%(column)s is missing.") % {"column": column})
    if len(value) > 100:
        reasons.append(_("%(column)s is longer than 100 characters.") % {"column": column})
    return value


def _number(value: str, column: str, least: float, most: float, reasons: list[str]) -> float:
    number = float(value) if _decimal.fullmatch(value) else math.nan
    if math.isnan(number):
        reasons.append(_("%(column)s: “%(value)s” is no number.") % {"column": column, "value": value[:40]})
    elif not least <= number <= most:
        reasons.append(
            _("%(column)s: %(value)s is not between %(least)g and %(most)g.")
            % {"column": column, "value": value[:40], "least": least, "most": most}
        )
    return number


# Spreadsheets


def spreadsheet_safe(cell: object) -> str:
    """Return ``cell`` as a spreadsheet can't take it for a formula: with an apostrophe before it, if need be.

    Negative numbers are left alone. See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    text = str(cell)
    if not text.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")):
        return text
    return text if _decimal.fullmatch(text) else f"'{text}"
