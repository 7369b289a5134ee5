"""That the code of docs/workflows.md works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory

from django_progress.models import Process, Step
from django_progress.status import Status
from django_progress.workflows import registry

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/workflows.md").read_text()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("eager")
def test_the_code_in_the_document() -> None:
    request = RequestFactory().post("/")
    request.user = AnonymousUser()
    namespace: dict[str, Any] = {"request": request}
    ended = []
    try:
        for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL):
            exec(block, namespace)
            if (process := namespace.get("process")) not in (None, *ended):
                ended.append(process)
    finally:
        registry.forget("import-airports")
        registry.forget("import-regions")
    assert [process.status for process in ended] == [Status.SUCCEEDED] * 2
    assert [process.result for process in ended] == [28_000, "load-europe loaded"]
    assert namespace["again"].result == 28_000
    assert namespace["again"].retry_of == ended[0]
    assert ended[0].finished_url == "/airports/"
    paths = list(Step.objects.filter(process=ended[0]).values_list("path", flat=True))
    assert paths == ["#.check", "#.load", *(f"#.load[{number}]" for number in range(3)), "#.load.index", "#.report"]
    assert namespace["report"](None, {"index": 28_000}) == 28_000
    assert Process.objects.whole().count() == 3
