"""``manage.py demo``: the example project with all that it needs, by one command."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from example_project import demo_user
from example_project.demo import services
from example_project.demo.drawing import Drawing
from example_project.demo.visits import VISITS


class Command(BaseCommand):
    """Runs the gallery, or goes through one of its examples."""

    help = (
        "Run the example project: migrates, makes a user, and starts the server and a Celery worker. "
        "Ctrl-C stops both. With --run, go through one example without a browser and stop."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do and where."""
        parser.add_argument("--run", choices=sorted(VISITS), help="Go through this example, as a browser would.")
        parser.add_argument(
            "--port", type=int, help="The port to listen on; by default 8000, or another if it is taken."
        )
        parser.add_argument(
            "--data-dir",
            type=Path,
            default=os.environ.get("EXAMPLE_DATA_DIR"),
            help="Where to keep the data; by default .demo, and with --run a folder that is removed afterwards.",
        )
        parser.add_argument("--timeout", type=float, default=180, help="Seconds that --run may wait for its process.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start everything, do what was asked for, and stop everything."""
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            with self._data_dir(options) as data_dir:
                self.stdout.write("Starting the server and a worker...")
                services.migrate(data_dir)
                port = services.choose_port(*_wanted_ports(options))
                # What --run waited for is over by then, so nothing is lost by not waiting any longer.
                patience = 0.0 if options["run"] else services.STOPPING
                with services.run(data_dir, port, patience=patience) as running:
                    site = f"http://{services.HOST}:{port}"
                    if options["run"]:
                        self._visit(options["run"], site, options["timeout"], running)
                    else:
                        self._serve(site, running)
        except KeyboardInterrupt:
            if options["run"]:
                raise CommandError("Interrupted.", returncode=130) from None
            self.stdout.write("Stopped.")

    @contextmanager
    def _data_dir(self, options: dict[str, Any]) -> Iterator[Path]:
        if options["run"] and not options["data_dir"]:
            with tempfile.TemporaryDirectory(prefix="django_progress_demo_", ignore_cleanup_errors=True) as temporary:
                yield Path(temporary)
        else:
            folder = Path(options["data_dir"] or settings.DATA_DIR).resolve()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield folder

    def _serve(self, site: str, running: list[services.Service]) -> None:
        """Say where it is, and stay until told to stop."""
        self.stdout.write(
            f"\n  The gallery is at {self.style.SUCCESS(site + '/')}\n"
            f"  Log in as {demo_user.USERNAME} with the password {demo_user.PASSWORD}.\n"
            f"  Logs are in {running[0].log.parent}. Ctrl-C stops everything.\n"
        )
        self.stdout.flush()
        try:
            while True:
                time.sleep(0.5)
                for service in running:
                    service.check()
        finally:
            self.stdout.write("\nStopping...")

    def _visit(self, name: str, site: str, timeout: float, running: list[services.Service]) -> None:
        """Go through an example, and say what came of it."""
        drawing = Drawing(sys.stdout)
        try:
            summary, url = VISITS[name].make(site, drawing.show, timeout)
        except CommandError as error:
            logs = "\n\n".join(f"The {service.name}'s log ends with:\n{service.last_lines()}" for service in running)
            raise CommandError(f"{error}\n\n{logs}") from error
        self.stdout.write(self.style.SUCCESS(f"{name}: {summary}"))
        self.stdout.write(f"The result page was {url}")


def _wanted_ports(options: dict[str, Any]) -> list[int]:
    if options["port"]:
        return [options["port"]]
    # Nobody has to remember the address of a run.
    return [0] if options["run"] else [8000, 0]


def _interrupt(*args: Any) -> NoReturn:
    raise KeyboardInterrupt
