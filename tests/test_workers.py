"""That the workers which other tests rely on start, work and leave nothing behind."""

from __future__ import annotations

import pytest
from django_celery_results.models import TaskResult

from tests.celery import add
from tests.workers import BROKERS, Broker, run_worker, wait_until

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_worker_executes_a_task_and_leaves_no_process(broker: Broker) -> None:
    with run_worker(broker) as worker:
        result = add.delay(2, 3)
        # The result comes through the tests' database: both processes use the same one.
        stored = wait_until(TaskResult.objects.filter(task_id=result.id, status="SUCCESS").first)
        assert stored.result == "5"
        assert worker.is_alive()
    assert not worker.is_alive()
    assert worker.process.returncode == 0


def test_killed_worker_leaves_no_pool_behind(broker: Broker) -> None:
    with run_worker(broker, patience=0) as worker:
        assert worker.children
    wait_until(lambda: not worker.is_alive(), what="the pool to be gone")


def test_failure_shows_the_log(broker: Broker) -> None:
    with pytest.raises(RuntimeError) as caught, run_worker(broker, patience=0):
        raise RuntimeError
    assert " ready." in caught.value.__notes__[0]
