"""The live regions of a page as one stream keeps them up to date: found by the addresses that they poll.

What one shows is made once for all who look at the same thing in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy as copy_of
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.http import HttpRequest, QueryDict
from django.template.loader import render_to_string
from django.urls import Resolver404, get_script_prefix, get_urlconf, resolve, set_script_prefix, set_urlconf
from django.utils import timezone, translation

from .. import sharing
from ..access import visible_among, who_asks
from ..models import Process
from ..status import ACTIVE
from .guards import is_logged_in
from .listing import Listing
from .live import MODES, Live
from .polls import copy_number, element_id

__all__ = ["MOST", "Look", "Region", "Surroundings", "allowed", "find", "looked_at", "rendered"]

MOST = 50
"""Live regions that one stream keeps up to date."""
APP = "django_progress"
WAIT, SHARED, LIST = "process-wait-fragment", "process-shared-fragment", "process-list-fragment"
LIST_ID = "dp-mine-live"


class Surroundings(NamedTuple):
    """What a page is rendered in besides what it shows. Another thread has to be told."""

    language: str | None
    time_zone: str
    script_prefix: str
    urlconf: Any

    @classmethod
    def here(cls) -> Surroundings:
        """Return those of the request that is being answered."""
        return cls(translation.get_language(), timezone.get_current_timezone_name(), get_script_prefix(), get_urlconf())

    @contextmanager
    def active(self) -> Iterator[None]:
        """Be in them."""
        before = get_script_prefix(), get_urlconf()
        set_script_prefix(self.script_prefix)
        set_urlconf(self.urlconf)
        try:
            with translation.override(self.language), timezone.override(self.time_zone):
                yield
        finally:
            set_script_prefix(before[0])
            set_urlconf(before[1])


class Look(NamedTuple):
    """In which way a process is looked at; who looks in the same way sees the same."""

    mode: str
    copy: int
    is_personal: bool
    polled_at: str
    surroundings: Surroundings


@dataclass
class Region:
    """One live region of a page: a process, or a list of somebody's."""

    id: str
    """Of its element."""
    look: Look | None = None
    """None for a list: nobody else sees the same one."""
    pks: frozenset[int] = frozenset()
    """What it shows that isn't over; nothing for what may not be seen."""
    token: str = ""
    """Tells what the page shows."""
    revision: int = 0
    link: str = ""
    """The link by which it is seen; whoever holds it needs no other permission."""

    @property
    def is_led_on(self) -> bool:
        """Whether the end has to be polled for: it leads elsewhere, or fetches the page around it."""
        return self.look is None or self.look.mode in ("wait", "processing")


def find(request: HttpRequest) -> list[Region]:
    """Return the live regions that poll at the addresses ``?poll=``, each once; other addresses are left aside."""
    found: dict[str, Region] = {}
    surroundings = Surroundings.here()
    keys: dict[str, list[Region]] = {}
    for address in request.GET.getlist("poll")[:MOST]:
        name, arguments, query = _resolved(address, surroundings)
        if name == LIST:
            listing = Listing.asked(who_asks(request), query)
            region = Region(LIST_ID, pks=frozenset(process.pk for process in listing.going_on))
        elif name == SHARED:
            held = _held(arguments["token"], urlsplit(address).path, surroundings)
            if held is None:
                continue
            region = held
        else:
            mode = "wait" if name == WAIT else query.get("as", "status")
            if MODES.get(mode) != name:
                continue
            key, copy = str(arguments["key"]), copy_number(query)
            look = Look(mode, copy, is_logged_in(request), "", surroundings)
            region = Region(_live_id(mode, key, copy), look)
            keys.setdefault(key, []).append(region)
        region.token = query.get("dp-shown", "")
        found.setdefault(region.id, region)
    visible = visible_among(request, key__in=keys, status__in=ACTIVE) if keys else {}
    for pk, process_key in visible.items():
        for region in keys[str(process_key)]:
            region.pks = frozenset([pk])
    return list(found.values())


def allowed(regions: Iterable[Region], request: HttpRequest) -> frozenset[str]:
    """Return the ids of those that whoever asks may still see."""
    regions = list(regions)
    own = {pk for region in regions if region.look and not region.link for pk in region.pks}
    seen = set(visible_among(request, pk__in=own)) if own else set()
    return frozenset(
        region.id
        for region in regions
        if not region.look  # A list shows what may be seen whenever it is asked for.
        or (region.pks <= {sharing.process_of_link(region.link)} if region.link else region.pks <= seen)
    )


def _resolved(address: str, surroundings: Surroundings) -> tuple[str, dict[str, Any], QueryDict]:
    """Return the name, the arguments and the query of one of the app's addresses; no name for any other."""
    path, _, query = address.partition("?")
    prefix = surroundings.script_prefix
    try:
        match = resolve("/" + path.removeprefix(prefix)) if path.startswith(prefix) else None
    except Resolver404:
        match = None
    if match is None or APP not in match.app_names:
        return "", {}, QueryDict()
    return match.url_name or "", match.kwargs, QueryDict(query)


def _held(token: str, address: str, surroundings: Surroundings) -> Region | None:
    link = sharing.find_link(token)
    key = link and Process.objects.filter(pk=link.process_id).values_list("key", flat=True).first()
    if link is None or key is None:
        return None
    look = Look("shared", 1, False, address, surroundings)
    return Region(_live_id("shared", key), look, frozenset([link.process_id]), link=token)


def _live_id(mode: str, key: object, copy: int = 1) -> str:
    return f"{element_id(mode, key, copy)}-live"


def looked_at(process: Process, look: Look) -> Live:
    """Return what the live region of a process shows to all who look: nothing of its retry, which not all may see."""
    if process.__dict__.get("retried_key"):
        process = copy_of(process)  # Others read the row, too.
        process.__dict__["retried_key"] = None
    with look.surroundings.active():
        live = Live(process, look.mode, is_personal=look.is_personal, copy=look.copy, polled_at=look.polled_at)
        _ = live.token  # Made here, where the language is the right one.
        return live


def rendered(live: Live, look: Look) -> str:
    """Return the live region as a poll would get it."""
    with look.surroundings.active():
        return render_to_string("django_progress/fragments/live.html", {"process": live.process, "live": live})
