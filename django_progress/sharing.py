"""Letting others see a process: people with an account, and whoever holds a link. They see, and change nothing."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.core import signing
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from . import audit, clock, nudges, values
from .conf import settings
from .models import Action, Process, Share, ShareLink
from .querysets import ShareLinkQuerySet

__all__ = ["find_link", "get_share_url", "process_of_link", "revoke_share_urls", "share", "unshare", "working_links"]

_signer = signing.Signer(salt="django_progress.sharing")


def share(process: Process, with_user: Any, *, by: Any = None) -> None:
    """Let ``with_user`` see a process; it then stands among what is shared with them. Twice is once.

    Raises ``TypeError`` for what isn't a saved user.
    """
    pk = _user_pk(with_user)
    process = _whole(process)
    using = process._using
    with transaction.atomic(using=using):
        _row, is_new = Share.objects.using(using).get_or_create(
            process_id=process.pk,
            user_id=pk,
            defaults={"shared_by_id": getattr(by, "pk", None), "shared_at": clock.read(using)},
        )
        if is_new:
            audit.record(process, Action.SHARED, by, user=str(pk), name=with_user.get_username())
            nudges.access_changed(using, process.pk)


def unshare(process: Process, with_user: Any, *, by: Any = None) -> None:
    """Take that back."""
    pk = _user_pk(with_user)
    process = _whole(process)
    using = process._using
    with transaction.atomic(using=using):
        if Share.objects.using(using).filter(process_id=process.pk, user_id=pk).delete()[0]:
            audit.record(process, Action.UNSHARED, by, user=str(pk), name=with_user.get_username())
            nudges.access_changed(using, process.pk)


def get_share_url(process: Process, *, expires: float | timedelta | None = None, by: Any = None) -> str:
    """Return a new link (a path of this site) by which whoever holds it may see the process, and nothing else.

    ``expires`` is in seconds, or a timedelta; ``SHARE_LINK_AGE`` where it is left out. The
    link can't be read back later: the database holds a hash of it.
    """
    given = (settings.SHARE_LINK_AGE, "SHARE_LINK_AGE") if expires is None else (expires, "expires")
    age = values.positive_duration(*given)
    secret = secrets.token_urlsafe(24)
    using = process._using
    now = clock.read(using)
    with transaction.atomic(using=using):
        link = ShareLink.objects.using(using).create(
            process_id=process.pk,
            secret_hash=_hash(secret),
            created_by_id=getattr(by, "pk", None),
            created_at=now,
            expires_at=now + timedelta(seconds=age),
        )
        audit.record(process, Action.LINKED, by, expires_at=link.expires_at.isoformat())
    return reverse("django_progress:process-shared", args=[_signer.sign(secret)])


def revoke_share_urls(process: Process, *, by: Any = None) -> int:
    """Make all links to a process, and to its steps, worthless, and return how many still worked."""
    using = process._using
    with transaction.atomic(using=using):
        working = working_links(process)
        pks = set(working.values_list("process_id", flat=True))
        count = working.update(revoked_at=clock.DatabaseNow())
        if count:
            audit.record(process, Action.UNLINKED, by, count=count)
        for pk in pks:
            nudges.access_changed(using, pk)
    return count


def working_links(process: Process) -> ShareLinkQuerySet:
    """Return the links that show a process, or a step of it, and still work."""
    steps = Process.objects.using(process._using).filter(parent_id=process.pk)
    links = ShareLink.objects.using(process._using).working()
    return links.filter(Q(process_id=process.pk) | Q(process__in=steps.values("pk")))


def process_of_link(token: str) -> int | None:
    """Return the pk of the process that a link leads to; None if it is forged, expired, revoked or gone."""
    link = find_link(token)
    return None if link is None else link.process_id


def find_link(token: str) -> ShareLink | None:
    """Return the link itself, on the same terms."""
    try:
        secret = _signer.unsign(token)
    except signing.BadSignature:
        return None
    return ShareLink.objects.working().filter(secret_hash=_hash(secret)).first()


def _whole(process: Process) -> Process:
    """Return the process itself, of a step its workflow: whoever sees that sees its steps."""
    return process.parent or process


def _user_pk(user: Any) -> Any:
    if getattr(user, "pk", None) is None:
        raise TypeError(f"A process can be shared with a saved user, not with {user!r:.100}.")
    return user.pk


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
