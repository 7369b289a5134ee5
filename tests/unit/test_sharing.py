"""Letting others see a process, and what is written down of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import call_command
from django.db.models import Q

from django_progress import access, audit, sharing
from django_progress.clock import DatabaseNow
from django_progress.models import AuditEntry, Process, Share, ShareLink
from django_progress.views.listing import Listing
from tests.executing import fresh, start

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def ben() -> User:
    return User.objects.create_user("ben")


@pytest.fixture
def process(ann: User) -> Process:
    return start(owner=ann)


def token_of(url: str) -> str:
    found = re.fullmatch(r"/progress/shared/(.+)/", url)
    assert found is not None
    return found[1]


def audited() -> list[tuple[str, Any, str, dict[str, Any]]]:
    return [(entry.action, entry.actor, entry.via, entry.details) for entry in AuditEntry.objects.order_by("pk")]


def test_whom_it_is_shared_with_sees_it_and_changes_nothing(process: Process, ann: User, ben: User) -> None:
    who, policy = access.Who(ben), access.policy()
    assert not policy.may_view(who, process)
    sharing.share(process, ben, by=ann)
    sharing.share(process, ben, by=ann)
    assert policy.may_view(who, process)
    assert list(Process.objects.filter(policy.viewable(who))) == [process]
    assert not policy.may_control(who, process)
    sharing.unshare(process, ben, by=ann)
    sharing.unshare(process, ben, by=ann)
    assert not policy.may_view(who, process)
    named = {"user": str(ben.pk), "name": "ben"}
    assert audited() == [("shared", ann, "code", named), ("unshared", ann, "code", named)]


@pytest.mark.parametrize("user", [AnonymousUser(), User(username="new"), None, "ben"])
def test_it_can_be_shared_with_saved_users_only(process: Process, user: Any) -> None:
    with pytest.raises(TypeError, match="with a saved user"):
        sharing.share(process, user)


def test_a_link_leads_to_one_process_until_it_expires(process: Process, ann: User) -> None:
    start(owner=ann)
    token = token_of(sharing.get_share_url(process, expires=timedelta(hours=1), by=ann))
    assert sharing.process_of_link(token) == process.pk
    ShareLink.objects.update(expires_at=DatabaseNow(-0.001))
    assert sharing.process_of_link(token) is None
    assert [entry[:3] for entry in audited()] == [("linked", ann, "code")]


def test_a_link_lasts_as_long_as_the_setting_says(process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"SHARE_LINK_AGE": 100}
    sharing.get_share_url(process)
    link = ShareLink.objects.get()
    assert (link.expires_at - link.created_at).total_seconds() == 100


@pytest.mark.parametrize("expires", [0, -1, "soon", True])
def test_a_link_needs_a_time(process: Process, expires: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="expires"):
        sharing.get_share_url(process, expires=expires)


def test_links_can_be_revoked(process: Process, ann: User) -> None:
    other = start(owner=ann)
    tokens = [token_of(sharing.get_share_url(each)) for each in (process, process, other)]
    assert sharing.revoke_share_urls(process, by=ann) == 2
    assert sharing.revoke_share_urls(process, by=ann) == 0
    assert [sharing.process_of_link(token) for token in tokens] == [None, None, other.pk]
    assert audited()[-1] == ("unlinked", ann, "code", {"count": 2})


def test_a_link_that_was_tampered_with_leads_nowhere(process: Process) -> None:
    token = token_of(sharing.get_share_url(process))
    secret, _colon, signature = token.rpartition(":")
    for forged in (secret, f"{secret}:", f"x{token}", token[:-1], f"{secret[::-1]}:{signature}", "", "ü:\0"):
        assert sharing.process_of_link(forged) is None


def test_the_database_holds_nothing_to_make_a_link_of(process: Process) -> None:
    secret = token_of(sharing.get_share_url(process)).rpartition(":")[0]
    assert secret not in str(ShareLink.objects.values()) + str(AuditEntry.objects.values())


def test_shares_and_links_go_with_the_process_and_the_record_stays(process: Process, ann: User, ben: User) -> None:
    sharing.share(process, ben, by=ann)
    sharing.get_share_url(process, by=ann)
    process.cancel(by=ann)
    process.remove(by=ann)
    ann.delete()
    assert not Share.objects.exists()
    assert not ShareLink.objects.exists()
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == ["shared", "linked", "cancelled", "removed"]
    assert {entry.actor_name for entry in AuditEntry.objects.all()} == {"ann"}
    assert {entry.process_title for entry in AuditEntry.objects.all()} == {"Work"}


def test_what_is_done_is_recorded_with_who_and_how(process: Process, ann: User, ben: User) -> None:
    with audit.acting("admin", ben):
        process.expire()
        again = process.retry(by=ann)
        assert process.retry() == again
    again.cancel()
    assert audited() == [
        ("expired", ben, "admin", {}),
        ("retried", ann, "admin", {"new": str(again.key)}),
        ("cancelled", None, "code", {}),
    ]


def test_what_did_not_happen_is_not_recorded(process: Process) -> None:
    from django.db import transaction

    from django_progress.exceptions import ProcessFinished

    with transaction.atomic():
        process.cancel()
        transaction.set_rollback(True)
    assert audited() == []
    fresh(process).succeed()
    with pytest.raises(ProcessFinished):
        fresh(process).cancel()
    assert audited() == []


def test_old_entries_are_pruned(process: Process, settings: Any) -> None:
    from django_progress.retention import prune

    process.cancel()
    AuditEntry.objects.update(happened_at=DatabaseNow(-366 * 86400))
    settings.DJANGO_PROGRESS = {"KEEP_AUDIT": 0}
    prune()
    assert AuditEntry.objects.exists()
    settings.DJANGO_PROGRESS = {}
    prune()
    assert not AuditEntry.objects.exists()


class Colleagues(access.Policy):
    """The members of a group see each other's."""

    def viewable(self, who: access.Who) -> Q:
        mine = super().viewable(who)
        if not who.has_account:
            return mine
        return mine | Q(owner__in=User.objects.filter(groups__in=who.user.groups.all()))


def test_the_policy_can_be_replaced(process: Process, ann: User, ben: User, settings: Any) -> None:
    from django.contrib.auth.models import Group

    settings.DJANGO_PROGRESS = {"ACCESS_POLICY": f"{__name__}.Colleagues"}
    for name in ("sales", "support"):
        group = Group.objects.create(name=name)
        group.user_set.set([ann, ben])
    stranger = User.objects.create_user("cora")
    policy = access.policy()
    assert policy.may_view(access.Who(ben), process)
    assert not policy.may_control(access.Who(ben), process)
    assert not policy.may_view(access.Who(stranger), process)
    assert list(Process.objects.filter(policy.viewable(access.Who(ben)))) == [process]
    assert not policy.may_view(access.Who(), process)


class NobodysBusiness(access.Policy):
    """Stricter than the default: what is started can't be stopped, and secret kinds aren't shown to their owners."""

    def viewable(self, who: access.Who) -> Q:
        return super().viewable(who) & ~Q(kind="secret")

    def controllable(self, who: access.Who) -> Q:
        return access.NOTHING


def test_a_stricter_policy_is_heeded_for_owners_too(ann: User, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"ACCESS_POLICY": f"{__name__}.NobodysBusiness"}
    plain, secret = start(owner=ann), start(owner=ann, kind="secret")
    who, policy = access.Who(ann), access.policy()
    assert (policy.may_view(who, plain), policy.may_control(who, plain)) == (True, False)
    assert not policy.may_view(who, secret)
    assert [row.process for row in Listing(who).rows] == [plain]


def test_an_account_that_is_not_active_is_nobody(process: Process, ann: User, rf: Any) -> None:
    request = rf.get("/")
    request.user, ann.is_active = ann, False
    assert not access.may_see(request, process)
    assert not access.may_control(request, process)


def test_users_without_is_staff_are_no_staff(process: Process) -> None:
    class Bare:
        pk = 3
        is_active = True

    assert not access.policy().may_view(access.Who(Bare()), process)


def test_whoever_it_is_shared_with_is_not_told_of_its_retry(process: Process, ann: User, ben: User, rf: Any) -> None:
    sharing.share(process, ben)
    process.cancel()
    again = process.retry()
    request = rf.get("/")
    for user, told in ((ann, again.key), (ben, None)):
        request.user = user
        found = access.find(request, process.key)
        assert found is not None
        assert found.retried_key == told


def test_what_a_command_removes_is_recorded(process: Process) -> None:
    process.cancel()
    Process.objects.update(finished_at=DatabaseNow(-86400 * 2))
    call_command("progress_prune", "--days", "1", verbosity=0)
    assert not Process.objects.exists()
    assert audited()[-1] == ("removed", None, "command", {})
