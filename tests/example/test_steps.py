"""The import as a workflow: the same airports as by one task, and a failure to be seen."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from django_progress.models import Process, Step
from django_progress.status import Status, StepStatus
from example_project.gallery import workflow
from example_project.gallery.importing import ChunkImporter
from example_project.gallery.models import Airport, RefusedRow, Upload
from tests.example.test_importing import FRANKFURT, WELLINGTON, csv_of

FILE = csv_of(FRANKFURT, "XX,,,,,,,", WELLINGTON, FRANKFURT)
"""Two airports; what is no airport; one that stands there twice."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "CHUNK", 1)


def post(visitor: Client, text: str = FILE, **more: str) -> Process:
    file = SimpleUploadedFile("mine.csv", text.encode())
    answer = visitor.post("/steps/", {"source": "own", "file": file, **more})
    assert answer.status_code == 303
    return Process.objects.whole().get()


def logs(process: Process, path: str) -> list[str]:
    execution = Step.objects.get(process=process, path=path).execution
    assert execution is not None
    return [event.text for event in execution.event_set.filter(type="log")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
def test_an_import_in_parts(visitor: Client, stranger: Client) -> None:
    process = post(visitor)
    assert process.status == Status.SUCCEEDED, process.error
    result: Any = process.result
    assert (result["imported"], result["refused"], result["file"]) == (2, 2, "mine.csv")
    assert result["countries"] == [["DE", 1], ["NZ", 1]]
    assert sorted(Airport.objects.values_list("icao", flat=True)) == ["EDDF", "NZWN"]
    assert list(RefusedRow.objects.values_list("line", flat=True)) == [3, 5]
    assert Step.objects.get(process=process, path="#.load").parts == 4
    assert logs(process, "#.check") == ["mine.csv has 4 rows."]
    assert logs(process, "#.load[2]") == ["Lines 4 to 4 are loaded."]
    assert "icao: EDDF stands in line 2 already." in logs(process, "#.load.explain")[1]
    page = visitor.get(process.finished_url).content.decode()
    assert "2 airports imported" in page
    assert visitor.get(f"{process.finished_url}refused.csv").status_code == 200
    for url in (process.finished_url, f"{process.finished_url}refused.csv"):
        assert stranger.get(url).status_code == 404
    shown = visitor.get(process.get_absolute_url()).content.decode()
    assert "4 of 4 parts" in shown


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
def test_nothing_to_explain_is_skipped(visitor: Client) -> None:
    process = post(visitor, csv_of(FRANKFURT))
    assert process.status == Status.SUCCEEDED
    assert Step.objects.get(process=process, path="#.load.explain").status == StepStatus.SKIPPED


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
def test_a_failure_that_was_asked_for_happens_once(visitor: Client) -> None:
    process = post(visitor, rehearse="on")
    assert (process.status, process.error) == (Status.FAILED, "The map server doesn't answer.")
    assert Step.objects.get(process=process, path="#.publish").status == StepStatus.FAILED
    page = visitor.get(process.get_absolute_url()).content.decode()
    assert page.count("doesn&#x27;t answer.") >= 2
    again = process.retry()
    again.refresh_from_db()
    assert again.status == Status.SUCCEEDED
    assert again.result["imported"] == Airport.objects.count() == 2


@pytest.mark.django_db
def test_a_part_that_is_tried_again_leaves_the_others_alone(user: Any) -> None:
    upload = Upload.objects.keep(user, "mine.csv", FILE)
    for first, last in ((0, 2), (2, 4), (2, 4)):
        with ChunkImporter(upload, first, last) as importer:
            for row in importer.rows:
                importer.add(row)
    assert sorted(upload.airports.values_list("icao", flat=True)) == ["EDDF", "NZWN"]
    assert list(upload.refused_rows.values_list("line", flat=True)) == [3, 5]


@pytest.mark.django_db
def test_a_file_that_is_none_is_refused_at_once(visitor: Client) -> None:
    answer = visitor.post("/steps/", {"source": "own"})
    assert answer.status_code == 422
    assert "Choose a file." in answer.content.decode()
    assert not Process.objects.exists()
