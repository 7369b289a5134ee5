"""What a milestone costs: ``python -m benchmarks.milestone [sqlite|postgres|mariadb]``.

Beside it stand celery-progress's ``set_progress()`` on the result backend "django-db",
which keeps the last state only, and a floor: an UPDATE and an INSERT of the same rows in
one transaction, by hand.
"""

from __future__ import annotations

import sys

from benchmarks.databases import compare, scratch_database

NUMBER = 200


def main(vendor: str) -> bool:
    """Measure, print, and say whether a milestone costs less than the peer's."""
    with scratch_database(vendor):
        from celery_progress.backend import ProgressRecorder
        from django.db import connection, transaction

        from django_progress.models import Event, Process
        from tests.celery import app

        process = Process.objects.start("Measuring")
        floor = Process.objects.start("The floor")

        @app.task(bind=True)
        def peer(self: object) -> None:
            """Only its name is used."""

        peer.push_request(id="11111111-2222-3333-4444-555555555555")
        recorder = ProgressRecorder(peer)

        def milestone() -> None:
            process.milestone("ours", "Searching our flight database")

        def set_progress() -> None:
            recorder.set_progress(1, 3, "Searching our flight database")

        def by_hand() -> None:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    f"UPDATE {Process._meta.db_table} SET last_seq = last_seq + 1, milestone_name = %s WHERE id = %s",
                    ["ours", floor.pk],
                )
                cursor.execute(
                    f"INSERT INTO {Event._meta.db_table} (process_id, seq, type, name, message, translatable, "
                    "happened_at) SELECT id, last_seq, %s, %s, %s, %s, updated_at "
                    f"FROM {Process._meta.db_table} WHERE id = %s",
                    ["milestone", "ours", "Searching our flight database", False, floor.pk],
                )

        medians = compare(
            f"A milestone on {vendor}, µs",
            {
                "milestone()": milestone,
                "celery-progress set_progress()": set_progress,
                "UPDATE + INSERT in a transaction": by_hand,
            },
            number=NUMBER,
        )
    return medians["milestone()"] < medians["celery-progress set_progress()"]


if __name__ == "__main__":
    sys.exit(0 if main(*(sys.argv[1:2] or ["sqlite"])) else "A milestone costs more than the peer's.")
