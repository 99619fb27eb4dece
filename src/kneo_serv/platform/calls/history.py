"""Calls about what happened in a run."""

from collections.abc import Callable, Sequence
from typing import Any

from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunRecord
from kneo_serv.platform import views
from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.platform import Platform


class HistoryCalls(Calling):
    """Views of the journal: checkpoints, trace, replay, recovery, differences."""

    def list_checkpoints(self, run_id: str) -> list[views.Checkpoint]:
        """The run's checkpoints by sequence. Raises NotFoundError."""
        return self._fold(run_id, views.checkpoints)

    def get_trace(self, run_id: str) -> list[dict[str, Any]]:
        """The run's trace events, secrets removed. Raises NotFoundError."""
        return self._fold(run_id, lambda record, events: views.trace_events(record, events)[0])

    def replay_view(self, run_id: str) -> dict[str, Any]:
        """The run's life as a time line of checkpoints. Raises NotFoundError."""
        return self._fold(run_id, views.replay_view)

    def recovery_context(self, run_id: str) -> dict[str, Any]:
        """Where the run would go on if it were continued. Raises NotFoundError."""
        return self._fold(run_id, views.recovery_context)

    def checkpoint_diff(
        self, run_id: str, *, from_sequence: int | None = None, to_sequence: int | None = None
    ) -> dict[str, Any]:
        """What changed between two checkpoints (default: the last two).

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: there are fewer than two checkpoints, or a sequence is unknown.
        """
        return views.checkpoint_diff(
            self.list_checkpoints(run_id), from_sequence=from_sequence, to_sequence=to_sequence
        )

    def _fold[T](self, run_id: str, view: Callable[[RunRecord, Sequence[ev.Recorded]], T]) -> T:
        async def read(platform: Platform) -> tuple[RunRecord, list[ev.Recorded]]:
            return await platform.record(RunId(run_id)), await platform.events(RunId(run_id))

        return view(*self._do(read))
