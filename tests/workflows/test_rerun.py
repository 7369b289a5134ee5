"""Running a workflow again: what failed, from a step on, or one step; what runs then and what is reused."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F

from django_progress.exceptions import ProcessActive, RetryNotPossible, StepNotFound, StepNotReady
from django_progress.models import AuditEntry, Process, Step
from django_progress.status import Status, StepStatus
from django_progress.workflows import Way, Workflow, preview, rerun_from, retry_failed, run_again, run_step
from tests.executing import fresh
from tests.invariants import check_invariants
from tests.workflows.driving import drain, execute, queued, statuses, step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]

ROUNDS = int(os.environ.get("DJANGO_PROGRESS_ROUNDS", "15"))


@pytest.fixture(autouse=True)
def invariants(db: None, engine: Any) -> Iterator[None]:
    yield
    check_invariants()


class World:
    """What the steps of a workflow do, and how often each did it: whatever is in ``broken`` fails."""

    def __init__(self) -> None:
        self.broken: set[Any] = set()
        self.done: list[str] = []

    def note(self, step: Process) -> str:
        path = str(step.step.path)
        self.done.append(path)
        if path in self.broken:
            raise RuntimeError(path)
        return f"{path} {self.done.count(path)}"

    def again(self) -> list[str]:
        """Return what was done since it was last asked, in order of paths."""
        done, self.done = sorted(self.done), []
        return done


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def imports(define: Define, world: World) -> Workflow:
    """Check a file, load four parts of it with an index over them, and report; beside it, look something up."""
    workflow = define(description="Import")

    @workflow.step
    def check(step: Process) -> list[int]:
        world.note(step)
        return [10, 20, 30, 40]

    @workflow.step(weight=7, each=lambda results: results["check"])
    def load(step: Process, item: int) -> int:
        world.note(step)
        return item

    @load.step
    def index(step: Process, results: Any) -> int:
        world.note(step)
        return sum(results["load"])

    @workflow.step(after=["load"])
    def report(step: Process, results: Any) -> str:
        world.note(step)
        return f"{results['index']} in {len(results['load'])}"

    @workflow.step(after=["check"])
    def lookup(step: Process) -> str:
        return world.note(step)

    return workflow


ALL = ["#.check", "#.load", "#.load[0]", "#.load[1]", "#.load[2]", "#.load[3]", "#.load.index", "#.report", "#.lookup"]


def run(process: Process, world: World) -> tuple[Process, list[str]]:
    """Execute whatever waits, and return the process and what was executed."""
    world.again()
    process = drain(process)
    return process, world.again()


def rows(process: Process) -> dict[str, Step]:
    return {row.path: row for row in Step.objects.filter(process=process)}


# -- what failed -------------------------------------------------------------------------


def test_only_what_failed_runs_and_what_depends_on_it(imports: Workflow, world: World) -> None:
    world.broken = {"#.load[2]"}
    first, _ = run(imports.start(), world)
    assert (first.status, statuses(first)["#.load"]) == (Status.FAILED, "cancelled")
    lookup_ran = statuses(first)["#.lookup"] == "succeeded"
    world.broken = set()
    second = retry_failed(first)
    assert second.retry_of_id == first.pk
    before, after = rows(first), rows(second)
    done = {path for path, row in before.items() if row.status == StepStatus.SUCCEEDED}
    assert {"#.check", "#.load[0]", "#.load[1]"} <= done
    for path in done:
        for name in ("result", "queued_at", "started_at", "finished_at", "status"):
            assert getattr(after[path], name) == getattr(before[path], name), (path, name)
        assert (after[path].is_reused, after[path].source_id) == (True, before[path].pk)
    second, again = run(second, world)
    assert again == sorted(set(ALL) - {"#.load"} - done)
    assert lookup_ran == ("#.lookup" not in again)
    assert (second.status, second.result) == (Status.SUCCEEDED, after["#.lookup"].result or "#.lookup 1")
    assert step(second, "#.report").result == "100 in 4"
    assert step(second, "#.load").result == [10, 20, 30, 40]
    assert set(statuses(second).values()) == {"succeeded"}
    assert second.percent == 100
    assert fresh(first).status == Status.FAILED


def test_the_bar_begins_where_it_is(imports: Workflow, world: World) -> None:
    world.broken = {"#.report"}
    first, _ = run(imports.start(), world)
    second = fresh(retry_failed(first))
    assert statuses(second, "queued") == {"#.report": "queued", "#.lookup": "queued"}
    assert second.percent == pytest.approx(100 * 9 / 11, abs=0.01)
    assert second.event_set.get(seq=1).details == {"way": "failed"}


def test_what_failed_though_it_went_on(define: Define, world: World) -> None:
    workflow = define()

    @workflow.step(each=lambda results: [1, 2, 3], on_failure="continue")
    def load(step: Process, item: int) -> int:
        world.note(step)
        return item

    @workflow.step
    def total(step: Process, results: Any) -> list[Any]:
        world.note(step)
        return list(results["load"])

    world.broken = {"#.load[1]"}
    first, _ = run(workflow.start(), world)
    assert (first.status, first.result) == (Status.SUCCEEDED, [1, None, 3])
    world.broken = set()
    second, again = run(retry_failed(first), world)
    assert again == ["#.load[1]", "#.total"]
    assert (second.result, second.messages) == ([1, 2, 3], [])
    assert step(second, "#.load").parts_failed == 0


def test_a_list_that_could_not_be_made_is_made_anew(define: Define, world: World) -> None:
    workflow = define()
    items: list[int] = []

    def each(results: Any) -> list[int]:
        if not items:
            raise RuntimeError("not yet")
        return items

    workflow.step(name="load", each=each)(lambda step, item: item)
    first, _ = run(workflow.start(), world)
    assert first.status == Status.FAILED
    items += [7, 8]
    assert drain(retry_failed(first)).result == [7, 8]


def test_a_step_that_runs_in_part_is_not_reused(imports: Workflow, world: World) -> None:
    """Its result is another one, and it takes as long as what runs of it now, not the days since it ran last."""
    first, _ = run(imports.start(), world)
    Step.objects.filter(process=first).update(started_at=F("started_at") - timedelta(days=3))
    second = rerun_from(first, "#.load[1]")
    told = {step["path"]: step["reused"] for step in fresh(second).snapshot().as_json()["steps"]}
    assert told == {"#.check": True, "#.load": False, "#.load.index": False, "#.report": False, "#.lookup": True}
    before, after = rows(first), rows(second)
    assert after["#.load"].started_at == second.created_at
    assert after["#.load[0]"].started_at == before["#.load[0]"].started_at
    assert run(second, world)[0].status == Status.SUCCEEDED


def test_what_never_began_begins(imports: Workflow, world: World) -> None:
    process = imports.start()
    execute(process, "#.check")
    fresh(process).cancel()
    second, again = run(retry_failed(fresh(process)), world)
    assert again == sorted(set(ALL) - {"#.load", "#.check"})
    assert second.status == Status.SUCCEEDED


def test_skipped_is_a_result_too(define: Define, world: World) -> None:
    workflow = define()
    asked: list[str] = []
    maybe = workflow.step(name="maybe", when=lambda results: asked.append("maybe"))(lambda step: 1)
    maybe.step(name="child")(lambda step: 1)
    workflow.step(name="last")(lambda step: world.note(step))
    world.broken = {"#.last"}
    first, _ = run(workflow.start(), world)
    world.broken = set()
    second, again = run(retry_failed(first), world)
    assert (again, asked) == (["#.last"], ["maybe"])
    assert statuses(second) == {"#.maybe": "skipped", "#.maybe.child": "skipped", "#.last": "succeeded"}


def test_nothing_failed(imports: Workflow, world: World) -> None:
    process, _ = run(imports.start(), world)
    with pytest.raises(RetryNotPossible, match="Every step of this workflow has succeeded"):
        retry_failed(process)
    assert not process.retries.exists()


# -- from a step on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ("#.check", [*sorted(set(ALL) - {"#.load"})]),
        ("#.load", ["#.load.index", "#.load[0]", "#.load[1]", "#.load[2]", "#.load[3]", "#.report"]),
        ("#.load[1]", ["#.load.index", "#.load[1]", "#.report"]),
        ("#.load.index", ["#.load.index", "#.report"]),
        ("#.report", ["#.report"]),
        ("#.lookup", ["#.lookup"]),
    ],
)
def test_from_each_step_on(imports: Workflow, world: World, path: str, again: list[str]) -> None:
    first, everything = run(imports.start(), world)
    assert everything == sorted(set(ALL) - {"#.load"})
    seen = preview(first, Way.FROM, path)
    second = rerun_from(first, path)
    assert seen.runs == len([one for one in again if "[" not in one or path == "#.load[1]"]) + (
        path in ("#.check", "#.load")
    )
    second, done = run(second, world)
    assert done == again
    assert (second.status, second.percent) == (Status.SUCCEEDED, 100)
    assert step(second, "#.report").result == "100 in 4"
    assert step(second, "#.load").result == [10, 20, 30, 40]
    consistent(second)


def test_everything(imports: Workflow, world: World) -> None:
    first, everything = run(imports.start(), world)
    second, again = run(run_again(first, "all"), world)
    assert again == everything
    assert not Step.objects.filter(process=second, is_reused=True).exists()
    assert second.event_set.get(seq=1).details == {"way": "all"}


def test_what_else_failed_runs_too(imports: Workflow, world: World) -> None:
    world.broken = {"#.load.index"}
    first, _ = run(imports.start(), world)
    world.broken = set()
    second, again = run(rerun_from(first, "#.load[0]"), world)
    assert {"#.load[0]", "#.load.index", "#.report"} <= set(again)
    assert not {"#.check", "#.load[1]"} & set(again)
    assert second.status == Status.SUCCEEDED


def test_a_list_of_items_is_planned_anew_with_what_it_comes_from(define: Define) -> None:
    workflow = define()
    items = [1, 2, 3]
    workflow.step(name="check")(lambda step: list(items))
    workflow.step(name="load", each=lambda results: results["check"])(lambda step, item: item)
    first = drain(workflow.start())
    items.pop()
    second = drain(rerun_from(first, "#.check"))
    assert (second.result, step(second, "#.load").parts) == ([1, 2], 2)
    check_invariants(settled=True)


def test_again_and_again(imports: Workflow, world: World) -> None:
    process, _ = run(imports.start(), world)
    original = rows(process)
    for _turn in range(3):
        process, again = run(rerun_from(process, "#.report"), world)
        assert again == ["#.report"]
    # Where it was executed first, however often it was taken over since.
    assert step(process, "#.check").source_id == original["#.check"].pk
    assert step(process, "#.load[3]").source_id == original["#.load[3]"].pk
    Process.objects.filter(retries__isnull=False).first().remove()  # type: ignore[union-attr]
    check_invariants()


# -- one step ----------------------------------------------------------------------------


def test_one_step_and_nothing_else(imports: Workflow, world: World) -> None:
    first, _ = run(imports.start(), world)
    seen = preview(first, "only", "#.load")
    assert (seen.runs, seen.stale) == (1, 2)
    second, again = run(run_step(first, "#.load"), world)
    assert again == ["#.load[0]", "#.load[1]", "#.load[2]", "#.load[3]"]
    assert (second.status, second.result, second.percent) == (Status.SUCCEEDED, [10, 20, 30, 40], 100)
    assert statuses(second, "stale") == {"#.load.index": "stale", "#.report": "stale"}
    assert step(second, "#.report").result == "100 in 4", "still there, and marked"
    third, again = run(retry_failed(second), world)
    assert again == ["#.load.index", "#.report"]
    assert "stale" not in statuses(third).values()
    consistent(third)


def test_the_bar_is_that_of_the_only_step(imports: Workflow, world: World) -> None:
    first, _ = run(imports.start(), world)
    second = run_step(first, "#.report")
    assert (second.percent, queued(second)) == (0, ["#.report"])


def test_one_sub_step(imports: Workflow, world: World) -> None:
    first, _ = run(imports.start(), world)
    second, again = run(run_step(first, "#.load[2]"), world)
    assert (again, second.status) == (["#.load[2]"], Status.SUCCEEDED)
    assert second.result == [10, 20, 30, 40]
    assert statuses(second, "stale").keys() == {"#.load.index", "#.report"}


def test_one_step_beside_parts_that_failed(imports: Workflow, world: World) -> None:
    """What had succeeded of a parallel step that has nothing to do with it need not run afterwards."""
    world.broken = {"#.load[2]"}
    first = imports.start()
    execute(first, "#.check", "#.load", "#.load[0]", "#.load[1]", "#.load[3]", "#.lookup", "#.load[2]")
    world.broken = set()
    seen = preview(fresh(first), "only", "#.lookup")
    # check, and three parts.
    assert (seen.runs, seen.reused, seen.stale) == (1, 4, 3)
    second, again = run(run_step(fresh(first), "#.lookup"), world)
    assert (again, second.status, second.result) == (["#.lookup"], Status.SUCCEEDED, "#.lookup 1")
    assert statuses(second, "stale").keys() == {"#.load", "#.load[2]", "#.load.index", "#.report"}
    assert Step.objects.filter(process=second, is_reused=True).count() == seen.reused
    third, again = run(retry_failed(second), world)
    assert again == ["#.load.index", "#.load[2]", "#.report"]
    assert step(third, "#.report").result == "100 in 4"


def test_stale_results_are_read_by_nobody(imports: Workflow, world: World) -> None:
    from django_progress.workflows import Results

    first, _ = run(imports.start(), world)
    second, _ = run(run_step(first, "#.load"), world)
    results = Results(second.pk, "default")
    assert results["load"] == [10, 20, 30, 40]
    with pytest.raises(KeyError, match="has not ended"):
        results["report"]


def test_a_step_needs_those_before_it(imports: Workflow, world: World) -> None:
    world.broken = {"#.load[1]"}
    first, _ = run(imports.start(), world)
    with pytest.raises(RetryNotPossible, match=r"run it again from #\.load"):
        run_step(first, "#.report")
    with pytest.raises(RetryNotPossible, match=r"run it again from #\.load\."):
        run_step(first, "#.load.index")
    world.broken = set()
    second, again = run(run_step(first, "#.check"), world)
    assert (again, second.result) == (["#.check"], [10, 20, 30, 40])
    assert statuses(second, "stale").keys() >= {"#.load", "#.load.index", "#.report"}
    third, again = run(retry_failed(second), world)
    assert set(ALL) - {"#.check", "#.load", "#.lookup"} <= set(again)
    consistent(third)


def test_a_sub_step_needs_items_that_are_still_good(define: Define) -> None:
    """Also the only one, which has no sibling that would be out of date with it."""
    workflow = define()
    items = ["old"]
    workflow.step(name="check")(lambda step: list(items))
    workflow.step(name="load", each=lambda results: results["check"])(lambda step, item: item)
    first = drain(workflow.start())
    items[0] = "new"
    second = drain(run_step(first, "#.check"))
    with pytest.raises(StepNotReady, match=r"the items of #\.load are out of date; run #\.load\."):
        run_step(second, "#.load[0]")
    assert drain(run_step(second, "#.load")).result == ["new"]
    assert drain(rerun_from(second, "#.load[0]")).result == ["new"]


def test_a_sub_step_needs_its_siblings(imports: Workflow, world: World) -> None:
    world.broken = {"#.load[1]"}
    process = imports.start()
    execute(process, "#.check", "#.load", "#.load[1]")
    with pytest.raises(RetryNotPossible, match=r"#\.load\[0\] has not succeeded either"):
        run_step(fresh(process), "#.load[1]")


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "#", "check", "#.nothing", "#.load[4]", "#.check[0]", "#.load[-1]", "#.load[x]"])
@pytest.mark.parametrize("way", [Way.FROM, Way.ONLY])
def test_a_path_that_is_not_there(imports: Workflow, world: World, path: str, way: Way) -> None:
    process, _ = run(imports.start(), world)
    with pytest.raises(StepNotFound, match=r"There is no step|sub-steps, so"):
        run_again(process, way, path)
    assert not process.retries.exists()


def test_what_can_not_run_again(imports: Workflow, world: World) -> None:
    process = imports.start()
    with pytest.raises(ProcessActive):
        retry_failed(process)
    with pytest.raises(RetryNotPossible, match="is no workflow"):
        retry_failed(Process.objects.start("Waiting"))
    process, _ = run(process, world)
    with pytest.raises(RetryNotPossible, match="is no workflow"):
        retry_failed(step(process, "#.check").execution)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sideways"):
        run_again(process, "sideways")


def test_a_preview_does_nothing(imports: Workflow) -> None:
    """Not even what a reader of a single process may do: to store that its time has passed."""
    process = imports.using(max_duration=60).start()
    Process.objects.filter(pk=process.pk).update(expires_at=process.created_at)
    assert preview(fresh(process)).runs == 5
    assert fresh(process).status == Status.RUNNING
    assert retry_failed(fresh(process)).retry_of_id == process.pk
    assert fresh(process).status == Status.EXPIRED


def test_a_double_click_is_harmless(imports: Workflow, world: World) -> None:
    process, _ = run(imports.start(), world)
    first = rerun_from(process, "#.report")
    assert rerun_from(process, "#.report") == first
    assert process.retries.count() == 1
    run(first, world)
    assert rerun_from(process, "#.report") != first


def test_it_is_on_record(imports: Workflow, world: World) -> None:
    ann = User.objects.create_user("ann")
    process, _ = run(imports.start(ann), world)
    again = run_step(process, "#.report", by=ann)
    entry = AuditEntry.objects.get(process_key=process.key)
    assert (entry.action, entry.actor) == ("retried", ann)
    assert entry.details == {"new": str(again.key), "way": "only", "path": "#.report"}
    assert (again.owner, again.kind, again.task_kwargs) == (ann, process.kind, process.task_kwargs)


# -- a definition that has changed -------------------------------------------------------


def test_steps_that_are_new_or_stand_elsewhere_run(define: Define, world: World) -> None:
    from django_progress.workflows import registry

    def first_version() -> Workflow:
        workflow = define("tests-changing")
        workflow.step(name="a", after=[])(lambda step: world.note(step))
        workflow.step(name="b", after=[])(lambda step: world.note(step))
        workflow.step(name="gone", after=[])(lambda step: world.note(step))
        workflow.step(name="c", after=["a"])(lambda step: world.note(step))
        return workflow

    def second_version() -> Workflow:
        workflow = define("tests-changing")
        workflow.step(name="a", after=[])(lambda step: world.note(step))
        workflow.step(name="b", after=[])(lambda step: world.note(step))
        workflow.step(name="new", after=[])(lambda step: world.note(step))
        workflow.step(name="c", after=["a", "b"])(lambda step: world.note(step))
        return workflow

    first, _ = run(first_version().start(), world)
    registry.forget("tests-changing")
    second_version()
    alone = preview(first, "only", "#.a")
    assert {row.path: row.fate for row in alone.rows} == {
        "#.a": "runs",
        "#.b": "reused",
        "#.new": "stale",
        "#.c": "stale",
    }
    second, again = run(retry_failed(first), world)
    assert again == ["#.c", "#.new"]
    assert list(statuses(second)) == ["#.a", "#.b", "#.new", "#.c"]
    third, again = run(run_step(first, "#.a"), world)
    assert (again, third.status) == (["#.a"], Status.SUCCEEDED)
    registry.forget("tests-changing")


def test_what_went_out_of_date_because_it_changed_runs_as_it_is_now(define: Define, world: World) -> None:
    from django_progress.workflows import registry

    def version(**options: Any) -> Workflow:
        workflow = define("tests-changing")
        workflow.step(name="other", after=[])(lambda step: world.note(step))
        workflow.step(name="load", after=[], **options)(lambda step, *item: world.note(step))
        return workflow

    first, _ = run(version(each=lambda results: [1, 2]).start(), world)
    registry.forget("tests-changing")
    version()
    second, again = run(run_step(first, "#.other"), world)
    assert (again, statuses(second, "stale").keys()) == (["#.other"], {"#.load", "#.load[0]", "#.load[1]"})
    third, again = run(retry_failed(second), world)
    assert (again, third.result, list(statuses(third))) == (["#.load"], "#.load 1", ["#.other", "#.load"])


# -- any graph ---------------------------------------------------------------------------


def consistent(process: Process) -> None:
    """Each step that is done began when all before it had ended, and not earlier than they did."""
    found = rows(process)
    for row in found.values():
        if not row.is_part and row.parent_path != "#" and found[row.parent_path].status == StepStatus.SKIPPED:
            # Where that alone ran, what it would have run is left as it was.
            assert row.status in (StepStatus.SKIPPED, StepStatus.STALE), row.path
        if row.status != StepStatus.SUCCEEDED or row.is_part:
            continue
        for path in row.waits_for:
            below = [path] if path == row.parent_path else [p for p in found if p == path or p.startswith(f"{path}.")]
            for other in below:
                assert found[other].status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED), (row.path, other)
                if found[other].finished_at and row.queued_at:
                    assert found[other].finished_at <= row.queued_at, (row.path, other)


@pytest.mark.parametrize("seed", range(ROUNDS // 2 + 1))
def test_any_graph_however_often_it_is_run_again(define: Define, seed: int) -> None:
    """What a step was made of is what those before it hold now, whatever failed and was run again before."""
    dice = random.Random(seed)
    world = World()
    workflow = define()
    makers: list[Any] = [workflow]
    names: list[str] = []
    for number in range(dice.randint(3, 9)):
        name = f"s{number}"
        above = dice.choice(makers)
        ancestors = above.path.split(".")[1:]
        others = [other for other in names if other not in ancestors]
        after = dice.sample(others, dice.randint(0, min(2, len(others))))
        wide = dice.random() < 0.3

        def body(step: Process, *item: Any, results: Any, deps: Any = None) -> list[Any]:
            mark = world.note(step)
            row = step.step
            before = (
                row.waits_for
                if not row.is_part
                else Step.objects.get(process=row.process, path=row.parent_path).waits_for
            )
            return [mark, {path: results[path] for path in before}]

        options: dict[str, Any] = {"each": lambda results: [1, 2, 3]} if wide else {}
        if dice.random() < 0.2:
            options["when"] = lambda results: dice.random() < 0.4
        try:
            made = above.step(name=name, after=after, **options)(
                (lambda step, item, results: body(step, item, results=results))
                if wide
                else (lambda step, results: body(step, results=results))
            )
        except ValueError:
            continue  # These two would have waited for each other.
        makers.append(made)
        names.append(name)
    process = workflow.start()
    for _turn in range(6):
        paths = [f"#.{name}" for name in names]
        every = list(Step.objects.filter(process=process).values_list("path", flat=True)) or paths
        world.broken = set(dice.sample(every, min(len(every), dice.randint(0, 2))))
        process = drain(process)
        check_invariants()
        consistent(process)
        made_of(process)
        path = dice.choice([*Step.objects.filter(process=process).values_list("path", flat=True)])
        way = dice.choice(list(Way))
        world.again()
        try:
            seen = preview(process, way, path)
            again = run_again(process, way, path)
        except RetryNotPossible:
            # The first step is no other's, so that it can run however it stands.
            again = retry_failed(process) if process.status != Status.SUCCEEDED else rerun_from(process, "#.s0")
        else:
            counted = Step.objects.filter(process=again, is_reused=True).count()
            assert counted == seen.reused
        process = again
    world.broken = set()
    process = drain(process)
    if statuses(process, "stale") or process.status != Status.SUCCEEDED:
        process = drain(rerun_from(process, "#.s0"))
    assert process.status == Status.SUCCEEDED
    assert set(statuses(process).values()) <= {"succeeded", "skipped"}
    consistent(process)
    made_of(process)


def made_of(process: Process) -> None:
    """Compare what each step says that it was made of with what stands there now."""
    found = rows(process)
    for row in found.values():
        if row.status != StepStatus.SUCCEEDED:
            continue
        for single in row.result if row.parts else [row.result]:
            for path, was in single[1].items():
                assert found[path].result == was, (row.path, path)
