"""What is going to happen, decided by a seed: which processes are started, and what is done to them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["ENDS", "QUICK", "SHARES", "Dose", "Planned", "make_plan"]

QUICK = {"LEASE": 3.0, "HEARTBEAT": 0.75, "SWEEP_INTERVAL": 0.2, "REPUBLISH_AFTER": 3.0}
"""The app's settings for a run, here and in the workers."""

SHARES = {
    "steps": 25, "once": 14, "handing": 8, "handing_once": 5, "flaky": 8, "failing": 5, "inside": 14, "patient": 4,
    "long": 5, "overdue": 3, "hanging": 3, "quiet": 6,
}  # fmt: skip
"""How many of a hundred processes are of a kind; "quiet" ones have no task, only a deadline."""

ENDS = {
    **{
        kind: {"succeeded", "failed"}
        for kind in ("steps", "once", "handing", "handing_once", "flaky", "inside", "long")
    },
    "failing": {"failed"},
    "patient": {"cancelled", "failed"},
    "overdue": {"expired", "failed"},
    "hanging": {"failed"},
    "quiet": {"expired"},
}
"""How a kind may end if nobody cancels it; "failed" stands for a worker lost, or a connection, once too often."""

CANCELLED = 0.06
"""The share of other processes than patient ones that are cancelled too, whatever they are doing then."""


@dataclass(frozen=True)
class Dose:
    """How much of each."""

    processes: int
    kills: int
    restarts: int
    terminated: int

    @property
    def violence(self) -> Counter[str]:
        """What is done, how often."""
        return Counter(
            kill_worker=self.kills - self.kills // 2,
            kill_child=self.kills // 2,
            freeze_worker=max(1, self.kills // 5),
            restart_broker=self.restarts,
            empty_broker=self.restarts,
            terminate_connection=self.terminated,
        )


class Planned(NamedTuple):
    """One thing to do."""

    do: str
    """``start``, ``cancel``, or the name of a violence."""
    number: int = 0
    """Of the process, where there is one."""
    kind: str = ""
    seconds: float = 0.0


def make_plan(dose: Dose, chance: random.Random) -> list[Planned]:
    """Return all that is to be done, in order."""
    kinds = [kind for kind, share in SHARES.items() for _each in range(share)]
    starts = []
    for number in range(dose.processes):
        # Each kind comes even in a short run.
        kind = list(SHARES)[number] if number < len(SHARES) else chance.choice(kinds)
        starts.append(Planned("start", number, kind, round(chance.uniform(0.1, 0.9), 2)))
    chance.shuffle(starts)
    violence = list(dose.violence.elements())
    chance.shuffle(violence)
    plan: list[Planned] = []
    later: list[tuple[int, Planned]] = []
    done = 0
    for position, start in enumerate(starts):
        plan.append(start)
        if start.kind == "patient" or chance.random() < CANCELLED:
            wait = 10 if start.kind == "patient" else chance.randrange(6)
            later.append((position + wait, Planned("cancel", start.number)))
        plan += [cancel for moment, cancel in later if moment == position]
        # Evenly over the whole run, the last one included.
        while done < len(violence) * (position + 1) // len(starts):
            plan.append(Planned(violence[done]))
            done += 1
    plan += [cancel for moment, cancel in later if moment >= len(starts)]
    return plan
