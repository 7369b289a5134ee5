from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections, router

from django_progress import doctor, inspection, publishing
from django_progress.doctor import Finding, Level
from django_progress.invariants import MARGIN, Violation, violations
from django_progress.models import Process
from django_progress.push import reaching

SHOWN = 100
"""Violations that are told one by one."""
WIDTH = 100


class Command(BaseCommand):
    """Look at the set-up, or at what must be true of the data."""

    help = (
        "Look at what processes stand on (settings, database, broker, workers) and say what to do about it. "
        "With --invariants, look at every process instead. Ends with 1 if something is wrong."
    )
    # What is wrong there is what it is for.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to look at, and how to tell it."""
        parser.add_argument("--database", help="The database alias; by default the one that processes are written to.")
        parser.add_argument("--json", action="store_true", help="Tell it to a program.")
        parser.add_argument("--invariants", action="store_true", help="Look for processes that contradict themselves.")
        parser.add_argument("--no-broker", action="store_true", help="With --invariants: leave the messages out.")
        parser.add_argument(
            "--margin",
            type=float,
            default=MARGIN,
            metavar="SECONDS",
            help="With --invariants: how late a sweep may be (%(default)g); more than cron's interval, if that sweeps.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, tell, and fail if something is wrong."""
        using = options["database"] or router.db_for_write(Process)
        if using not in connections:
            raise CommandError(f"There is no database {using!r} in DATABASES.")
        if options["invariants"]:
            violated = violations(using, broker=not options["no_broker"], margin=options["margin"])
            self._tell_violations(violated, using, options["json"])
        else:
            found = chain(doctor.examine(using), inspection.examine(using), reaching.examine())
            self._tell_findings(list(found), options["json"])

    def _tell_findings(self, findings: list[Finding], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([finding._asdict() for finding in findings], indent=2))
        else:
            indent = " " * 22
            for level, about, text, fix in findings:
                lines = textwrap.wrap(text, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
                marked = self._styled(level)(f"{level.upper():<9}")
                self.stdout.write(f"{marked}{about:<13}{f'{chr(10)}{indent}'.join(lines)}")
                if fix and level != Level.OK:
                    fix = textwrap.fill(fix, WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
                    self.stdout.write(textwrap.indent(fix, f"{indent}  "))
        errors = sum(finding.level == Level.ERROR for finding in findings)
        warnings = sum(finding.level == Level.WARNING for finding in findings)
        summary = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}."
        if errors:
            raise CommandError(summary)
        if not as_json:
            self.stdout.write(summary)

    def _styled(self, level: Level) -> Any:
        styles = {Level.OK: "SUCCESS", Level.INFO: "NOTICE", Level.WARNING: "WARNING", Level.ERROR: "ERROR"}
        return getattr(self.style, styles[level])

    def _tell_violations(self, found: Iterable[Violation], using: str, as_json: bool) -> None:
        looked_at = Process.objects.using(using).count()
        found = iter(found)
        try:
            shown = list(islice(found, SHOWN))
            count = len(shown) + sum(1 for _ in found)
        except publishing.outages() as error:
            raise CommandError(f"The broker can't be asked ({error}); --no-broker leaves it out.") from error
        summary = f"{_counted(looked_at, 'process', 'es')}, {_counted(count, 'violation')}."
        if as_json:
            told = {"processes": looked_at, "count": count, "violations": [violation._asdict() for violation in shown]}
            self.stdout.write(json.dumps(told, indent=2))
        else:
            for violation in shown:
                self.stdout.write(f"{self.style.ERROR(violation.invariant):<4} {violation.process}: {violation.text}")
            if count > len(shown):
                self.stdout.write(f"… and {_counted(count - len(shown), 'more', '')}")
        if count:
            raise CommandError(summary)
        if not as_json:
            self.stdout.write(summary)


def _counted(count: int, what: str, plural: str = "s") -> str:
    return f"{count:,} {what if count == 1 else what + plural}"
