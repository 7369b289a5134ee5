"""What the steps of a workflow left behind, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..models import Step
from ..status import STEP_ENDED

__all__ = ["Results"]


class Results(Mapping[str, Any]):
    """The results of the steps that have ended, by name or path, each read when it is asked for.

    A step that was skipped, or failed without ending the workflow, has the result None;
    one with ``each=`` has the list of its sub-steps' results, in the order of the items.
    """

    def __init__(self, process_id: int, using: str) -> None:
        self._steps = Step.objects.using(using).filter(process_id=process_id)
        self._known: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Results of {', '.join(self) or 'nothing'}>"

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            which = {"path": name} if str(name).startswith("#") else {"name": name, "index": None}
            found = self._steps.filter(**which).values_list("status", "result").first()
            if found is None:
                raise KeyError(f"There is no step {name!r}; there are {', '.join(self._names())}.")
            if found[0] not in STEP_ENDED:
                raise KeyError(f"The step {name!r} has not ended; name it in after= of the step that needs its result.")
            self._known[name] = found[1]
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        try:
            self[name]  # type: ignore[index]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        ended = self._steps.planned().filter(status__in=STEP_ENDED)
        return iter(list(ended.order_by("position").values_list("name", flat=True)))

    def __len__(self) -> int:
        return self._steps.planned().filter(status__in=STEP_ENDED).count()

    def _names(self) -> list[str]:
        return list(self._steps.planned().order_by("position").values_list("name", flat=True)[:20])
