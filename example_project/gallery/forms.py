from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from . import places, rows
from .places import Place

__all__ = ["EndpointForm", "FlightForm", "ImportForm"]


class PlaceInput(forms.TextInput):
    """A text field that suggests airports while it is typed in; without JavaScript, the hubs."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        options = f"{name}-options"
        htmx = {"hx-get": reverse("gallery:airport-options"), "hx-trigger": "input changed delay:150ms"}
        wanted = {"list": options, "hx-target": f"#{options}", "autocomplete": "off", **htmx}
        return super().get_context(name, value, {**(attrs or {}), **wanted})


class PlaceField(forms.CharField):
    """An airport, by its code, its city or its name; its value is the :class:`Place`."""

    widget = PlaceInput

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=100, **kwargs)

    def clean(self, value: Any) -> Place | None:
        text = super().clean(value)
        if not text:
            return None
        found = places.find(text)
        if len(found) == 1:
            return found[0]
        if not found:
            raise ValidationError(
                _("No airport is known as “%(text)s”. Try a city, or a code such as FRA."), params={"text": text}
            )
        names = ", ".join(f"{place.name} ({place.iata})" for place in found[:10])
        raise ValidationError(
            _("“%(text)s” may be any of several airports. Enter the code of one: %(names)s%(more)s"),
            params={"text": text, "names": names, "more": " …" if len(found) > 10 else "."},
        )


class FlightForm(forms.Form):
    """From where to where."""

    origin = PlaceField(label=_("From"))
    destination = PlaceField(label=_("To"))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("origin") and data.get("origin") == data.get("destination"):
            self.add_error("destination", _("You are there already. Choose another airport."))
        return data


class EndpointForm(forms.Form):
    """How long the endpoint takes to start."""

    ready_after = forms.IntegerField(
        label=_("The server answers at call number"),
        initial=4,
        min_value=1,
        max_value=60,
        help_text=_("Until then it says 503. After 50 attempts the task gives up, so 51 and more end badly."),
    )
    retry_delay = forms.IntegerField(label=_("Seconds between two attempts"), initial=2, min_value=1, max_value=5)


class ImportForm(forms.Form):
    """All airports, or the visitor's own; cleaned, ``name`` and ``content`` are those of the upload to make."""

    ALL, OWN = "all", "own"

    source = forms.ChoiceField(choices=[(ALL, ALL), (OWN, OWN)], widget=forms.HiddenInput)
    file = forms.FileField(
        label=_("A CSV file of your own"),
        required=False,
        allow_empty_file=True,  # rows.decode() tells more kindly
        help_text=_("UTF-8, at most 5 MB, with the columns icao, name, country, lat and lon."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_file(self) -> UploadedFile[Any] | None:
        file: UploadedFile[Any] | None = self.cleaned_data["file"]
        size = file.size or 0 if file is not None else 0
        if size > rows.MAX_BYTES:
            raise ValidationError(
                _("This file has %(size)s; at most %(most)s can be imported."),
                params={"size": filesizeformat(size), "most": filesizeformat(rows.MAX_BYTES)},
            )
        return file

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        data["name"], data["content"] = str(_("All airports")), ""
        if data.get("source") == self.OWN and "file" in data:
            if data["file"] is None:
                self.add_error("file", _("Choose a file."))
            else:
                self._read(data)
        return data

    def _read(self, data: dict[str, Any]) -> None:
        try:
            text = rows.decode(data["file"].read())
            rows.read(text)
        except ValidationError as error:
            self.add_error("file", error)
        else:
            data["name"], data["content"] = data["file"].name[:200], text
