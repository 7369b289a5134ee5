from __future__ import annotations

import csv
import io
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from django_progress.models import Process
from django_progress.status import Status
from example_project.gallery import rows, tasks
from example_project.gallery.importing import Importer, read_upload
from example_project.gallery.models import Airport, RefusedRow, Upload
from example_project.gallery.rows import Row, Validator

HEADER = "icao,iata,name,city,country,lat,lon,elevation"
FRANKFURT = "EDDF,FRA,Frankfurt,Frankfurt,DE,50.0264,8.54313,364"
WELLINGTON = "NZWN,WLG,Wellington,Wellington,NZ,-41.32722,174.80528,-41"


def row(line: int = 2, **changes: str) -> Row:
    values = dict(zip(HEADER.split(","), FRANKFURT.split(","), strict=True))
    return Row(line, values | changes)


def csv_of(*lines: str) -> str:
    return "\n".join([HEADER, *lines]) + "\n"


# Files


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (f"{HEADER}\nLSZH,ZRH,Z\xfcrich".encode("latin-1"), "not UTF-8 (see line 2)"),
        (b"PK\x03\x04\0\0", "not a text file"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        rows.decode(data)
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,city\nA,B\n", "columns icao, country, lat, lon are missing"),
        ("icao,name,country,lat\n", "column lon is missing"),
        ("\n\n", "missing"),
        (f"{HEADER}\n", "no rows"),
        (f"{HEADER}\n\n\n", "no rows"),
        (csv_of(f'EDDF,"{"x" * 140_000}"'), "not a CSV file"),
    ],
)
def test_what_is_no_table_of_airports_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        rows.read(text)
    assert words in refused.value.message


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ROWS", 1)
    assert len(rows.read(csv_of(FRANKFURT))) == 1
    with pytest.raises(ValidationError, match="more than 1 rows"):
        rows.read(csv_of(FRANKFURT, WELLINGTON))


def test_rows_know_their_lines_and_columns_may_be_in_any_case_and_order() -> None:
    text = rows.decode('\ufeff Lon ,LAT,Name,country,ICAO\r\n8.5,50,"a\r\nb",DE,EDDF\r\n1,2,c,FR,LFPG\r\n'.encode())
    first, second = rows.read(text)
    assert (first.line, second.line) == (3, 4)
    assert first.values == {"lon": "8.5", "lat": "50", "name": "a\r\nb", "country": "DE", "icao": "EDDF"}


# Rows


def test_good_row() -> None:
    airport = Validator().airport(row())
    assert isinstance(airport, Airport)
    assert (airport.icao, airport.latitude, airport.elevation) == ("EDDF", 50.0264, 364)


def test_what_is_optional_may_be_empty_or_missing() -> None:
    given = row(iata="", city="", elevation="")
    assert isinstance(Validator().airport(given), Airport)
    for name in ("iata", "city", "elevation"):
        del given.values[name]
    airport = Validator().airport(given)
    assert isinstance(airport, Airport)
    assert airport.elevation is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"icao": ""}, "icao is missing."),
        ({"icao": "_AQT"}, "icao: “_AQT” is no code of 4 capital letters or digits."),
        ({"icao": "EDDFF"}, "icao: “EDDFF” is no code of 4 capital letters or digits."),
        ({"iata": "fr"}, "iata: “fr” is no code of 3 capital letters or digits."),
        ({"name": ""}, "name is missing."),
        ({"name": "x" * 101}, "name is longer than 100 characters."),
        ({"country": "Germany"}, "country: “Germany” is no code of two capital letters."),
        ({"lat": "90.1"}, "lat: 90.1 is not between -90 and 90."),
        ({"lon": "-181"}, "lon: -181 is not between -180 and 180."),
        ({"lat": ""}, "lat: “” is no number."),
        ({"lat": "nan"}, "lat: “nan” is no number."),
        ({"lat": "1_0"}, "lat: “1_0” is no number."),
        ({"lat": "1e999"}, "lat: 1e999 is not between -90 and 90."),
        ({"elevation": "high"}, "elevation: “high” is no number."),
        ({rows.BEYOND: "x"}, "There are more cells than columns."),
    ],
)
def test_bad_row_is_told_why(changes: dict[str, str], reason: str) -> None:
    assert Validator().airport(row(**changes)) == [reason]


def test_every_reason_is_told() -> None:
    reasons = Validator().airport(row(icao="", lat="x", lon="y"))
    assert isinstance(reasons, list)
    assert len(reasons) == 3


def test_code_that_stands_in_the_file_already() -> None:
    validator = Validator()
    validator.airport(row(line=2))
    assert validator.airport(row(line=5)) == ["icao: EDDF stands in line 2 already."]


# Imports


@pytest.fixture
def upload(user: User) -> Upload:
    return Upload.objects.keep(user, "mine.csv", csv_of(FRANKFURT, WELLINGTON, "XX,,,,,,,"))


def run(upload: Upload) -> dict[str, Any]:
    with Importer(upload) as importer:
        for given in read_upload(upload):
            importer.add(given)
    return importer.result()


@pytest.mark.django_db
def test_import_twice_is_import_once(upload: Upload) -> None:
    for _ in range(2):
        result = run(upload)
        assert (result["imported"], result["refused"]) == (2, 1)
        assert result["countries"] == [("DE", 1), ("NZ", 1)]
        assert upload.airports.count() == 2
        assert [refused.line for refused in upload.refused_rows.all()] == [4]


@pytest.mark.django_db
def test_batches_lose_nothing(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("example_project.gallery.importing.BATCH", 1)
    assert run(upload)["imported"] == upload.airports.count() == 2


@pytest.mark.django_db
def test_import_that_is_stopped_writes_no_half_batch(upload: Upload) -> None:
    importer = Importer(upload).__enter__()
    importer.add(read_upload(upload)[0])
    importer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not upload.airports.exists()


@pytest.mark.django_db
def test_only_the_last_uploads_are_kept(user: User) -> None:
    uploads = [Upload.objects.keep(user, str(number), "") for number in range(7)]
    assert list(Upload.objects.order_by("pk")) == uploads[-5:]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
def test_all_airports_of_the_world(visitor: Client, stranger: Client) -> None:
    started = visitor.post("/import/", {"source": "all"})
    process = Process.objects.get()
    assert (started.status_code, process.status) == (303, Status.SUCCEEDED)
    assert process.current == process.total > 25_000
    assert process.result["imported"] == Airport.objects.count() > 25_000
    assert process.result["imported"] + process.result["refused"] == process.total
    page = visitor.get(process.finished_url).content.decode()
    assert f"{process.result['imported']:,} airports imported" in page
    assert "<rect" in page
    assert " style=" not in page
    for url in (process.finished_url, f"{process.finished_url}refused.csv"):
        assert stranger.get(url).status_code == 404


def post_file(visitor: Client, data: bytes, name: str = "mine.csv") -> Any:
    return visitor.post("/import/", {"source": "own", "file": SimpleUploadedFile(name, data)})


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
def test_own_file_and_the_download_of_what_was_refused(visitor: Client) -> None:
    bad = 'SBGR,GRU,"=HYPERLINK(""x"")",+1,Brazil,-23.4,-46.4,5,extra'
    started = post_file(visitor, csv_of(FRANKFURT, WELLINGTON, bad).encode())
    assert started.status_code == 303
    process = Process.objects.get()
    assert process.status == Status.SUCCEEDED
    assert "Brazil" in visitor.get(process.finished_url).content.decode()
    answer = visitor.get(f"{process.finished_url}refused.csv")
    assert answer["Content-Type"].startswith("text/csv")
    assert "attachment" in answer["Content-Disposition"]
    text = b"".join(answer).decode("utf-8-sig")
    header, line = csv.reader(io.StringIO(text))
    told = dict(zip(header, line, strict=True))
    assert told["line"] == "4"
    assert "Brazil" in told["reasons"]
    assert told["name"] == '\'=HYPERLINK("x")'
    assert told["city"] == "+1"
    assert told["lat"] == "-23.4"
    assert told[rows.BEYOND] == "extra"


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("Frankfurt", "Frankfurt"),
        ("-33.9", "-33.9"),
        (5, "5"),
        ("=1+1", "'=1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("＝1", "'＝1"),
    ],
)
def test_no_cell_becomes_a_formula(cell: object, safe: str) -> None:
    assert rows.spreadsheet_safe(cell) == safe


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "This file is empty."),
        ("Zürich".encode("utf-16"), "not UTF-8"),
        (b"a,b\n1,2\n", "The columns icao, name, country, lat, lon are missing."),
    ],
)
def test_bad_file_is_refused_at_once(visitor: Client, data: bytes, words: str) -> None:
    answer = post_file(visitor, data)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Process.objects.exists()
    assert not Upload.objects.exists()


@pytest.mark.django_db
def test_no_file_and_a_large_one(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Choose a file." in visitor.post("/import/", {"source": "own"}).content.decode()
    monkeypatch.setattr(rows, "MAX_BYTES", 10)
    assert "at most 10\xa0bytes" in post_file(visitor, csv_of(FRANKFURT).encode()).content.decode()


@pytest.mark.django_db
def test_rows_that_are_no_longer_kept(visitor: Client, user: User, upload: Upload) -> None:
    process = Process.objects.start(owner=user, kind="airport-import")
    process.succeed(run(upload))
    upload.delete()
    assert "no longer kept" in visitor.get(f"/import/{process.key}/").content.decode()
    assert list(visitor.get(f"/import/{process.key}/refused.csv")) == []
    assert not RefusedRow.objects.exists()


@pytest.mark.django_db
def test_result_of_an_unknown_process(visitor: Client) -> None:
    assert visitor.get(f"/import/{uuid.uuid4()}/").status_code == 404


def test_task_may_run_again() -> None:
    assert tasks.import_airports.declared["max_attempts"] > 1
