"""Which database a process is in, and how its row and its workflow's are locked: the workflow's always first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections, router

from . import beside

if TYPE_CHECKING:
    from .models import Process

__all__ = ["Holding"]


class Holding:
    """The rows under the verbs."""

    if TYPE_CHECKING:
        pk: int
        parent_id: int | None
        parent: Any

    @property
    def _using(self) -> str:
        return beside.alias.get() or router.db_for_write(self.__class__, instance=self)  # type: ignore[arg-type]

    def _fresh(self) -> Process | None:
        rows = self.__class__._default_manager.using(self._using)  # type: ignore[attr-defined]
        return rows.filter(pk=self.pk).only("status", "attempt_token", "last_seq").first()  # type: ignore[no-any-return]

    def _locked(self, *fields: str) -> Process | None:
        rows = self.__class__._default_manager.using(self._using)  # type: ignore[attr-defined]
        return rows.select_for_update().only(*fields).filter(pk=self.pk).first()  # type: ignore[no-any-return]

    def _hold_parent(self) -> None:
        """Lock the workflow that it is a step of, always before the step's own row; from then on ``parent`` is that."""
        if self.parent_id is not None and (workflow := self._parents(skip=False).first()) is not None:
            self.parent = workflow

    def _parent_is_free(self) -> bool:
        """Lock the workflow that it is a step of, unless somebody holds it; true for any other process."""
        return self.parent_id is None or bool(self._parents(skip=True).only("pk").exists())

    def _parents(self, *, skip: bool) -> Any:
        features = connections[self._using].features
        rows = self.__class__._default_manager.using(self._using)  # type: ignore[attr-defined]
        return rows.select_for_update(
            skip_locked=skip and features.has_select_for_update_skip_locked,
            no_key=features.has_select_for_no_key_update,
        ).filter(pk=self.parent_id)

    def _is_free(self) -> bool:
        """Lock the row, if nobody else holds it; where rows can't be skipped this waits."""
        skip = connections[self._using].features.has_select_for_update_skip_locked
        rows = self.__class__._default_manager.using(self._using)  # type: ignore[attr-defined]
        return bool(rows.select_for_update(skip_locked=skip).filter(pk=self.pk).exists())
