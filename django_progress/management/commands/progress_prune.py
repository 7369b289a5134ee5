from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_progress import audit
from django_progress.conf import settings
from django_progress.models import Via
from django_progress.retention import prune


class Command(BaseCommand):
    """Delete old finished processes."""

    help = "Delete finished processes, with their events, that are older than KEEP_FINISHED, or than --days."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the age and the database."""
        parser.add_argument("--days", type=float, help="Keep what finished in the last so many days.")
        parser.add_argument("--database", help="The database alias; by default the one that processes are written to.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete, and say how many."""
        days = options["days"]
        if days is not None and days < 0:
            raise CommandError("--days must not be negative.")
        if days is None and not settings.KEEP_FINISHED:
            raise CommandError("DJANGO_PROGRESS['KEEP_FINISHED'] is 0, which keeps everything; give --days.")
        with audit.acting(Via.COMMAND):
            count = prune(None if days is None else days * 86400, using=options["database"])
        if options["verbosity"]:
            self.stdout.write(f"{count} removed")
