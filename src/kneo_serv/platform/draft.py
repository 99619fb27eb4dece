"""Events that are about to be appended."""

from dataclasses import dataclass, field

from kneo_serv.engine import Posture, evolve, posture
from kneo_serv.model import event as ev
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Run


@dataclass(slots=True)
class Draft:
    """Events that are about to be appended, and the run as it will be after them."""

    plan: Plan
    run: Run
    at: float
    events: list[ev.Recorded] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    """The run after each of the events."""
    _stood: tuple[Run, Posture] | None = None

    @property
    def stand(self) -> Posture:
        """How the run stands after the last of the events."""
        if self._stood is None or self._stood[0] is not self.run:
            self._stood = (self.run, posture(self.run))
        return self._stood[1]

    def add(self, event: ev.Event) -> None:
        """Numbers and folds one more event."""
        recorded = ev.Recorded(self.run.seq + 1, max(self.run.at, self.at), event)
        self.run = evolve(self.plan, self.run, recorded)
        self.events.append(recorded)
        self.runs.append(self.run)
