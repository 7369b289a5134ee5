from __future__ import annotations

import platform
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_progress import presence
from django_progress.sweep import sweep


class Command(BaseCommand):
    """Sweep once: for cron, where no worker should do it by itself."""

    help = "Expire, publish and give up what is due, once. Workers do this themselves; any number at once is harmless."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the database."""
        parser.add_argument("--database", help="The database alias; by default the one that processes are written to.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sweep, and say what was done."""
        done = sweep(options["database"])
        presence.note(f"progress_sweep@{platform.node()}", swept=True, using=options["database"])
        if options["verbosity"] and done:
            self.stdout.write(", ".join(f"{count} {what}" for what, count in sorted(done.items())))
