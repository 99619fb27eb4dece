"""Calls about people's tasks."""

from typing import Any

from kneo_serv.errors import NotFoundError
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.page import Page
from kneo_serv.model.run import RunResult
from kneo_serv.model.task import HumanResponse, TaskStatus
from kneo_serv.platform import views
from kneo_serv.platform.calls.calling import Calling, OnEvent, OnText
from kneo_serv.platform.platform import Platform


class PeopleCalls(Calling):
    """Reading and answering human tasks."""

    def get_human_task(self, continuation_id: str) -> dict[str, Any]:
        """What an open task asks, with the real text under review. Raises NotFoundError."""

        async def look(platform: Platform) -> dict[str, Any]:
            task = await platform.store.get_task(ContinuationId(continuation_id))
            if task is None or task.status is not TaskStatus.OPEN:
                raise NotFoundError("human task", continuation_id)
            return views.request_view(task, private=True)

        return self._do(look)

    def get_human_task_thread(self, continuation_id: str) -> list[dict[str, Any]]:
        """The conversation that led to an open task, oldest first, without secrets. Raises NotFoundError."""

        async def look(platform: Platform) -> list[dict[str, Any]]:
            task = await platform.store.get_task(ContinuationId(continuation_id))
            if task is None or task.status is not TaskStatus.OPEN:
                raise NotFoundError("human task", continuation_id)
            return views.thread_view(await platform.events(task.run_id), continuation_id)

        return self._do(look)

    def list_human_tasks(self, *, limit: int | None = None) -> list[dict[str, Any]]:
        """Open tasks, the oldest first, without secrets."""

        async def look(platform: Platform) -> list[dict[str, Any]]:
            found = []
            for task in await platform.store.list_tasks(page=None if limit is None else Page(limit=limit)):
                found.append(views.task_view(task, await platform.record(task.run_id)))
            return found

        return self._do(look)

    def resume_human_task(
        self,
        continuation_id: str,
        *,
        response: HumanResponse,
        actor: str | None = None,
        on_event: OnEvent | None = None,
        on_text: OnText | None = None,
    ) -> RunResult:
        """Gives a person's answer, and takes the run on until it rests or ends.

        Raises:
            NotFoundError: no open task has this id.
            LockAcquisitionError: another answer was first, and its run is still at work on it.
            RequestIdMismatchError, DecisionNotAllowedError: the answer does not fit the question.
            HumanTaskExpiredError: the task's deadline has passed.
        """

        async def resume(platform: Platform) -> RunResult:
            run_id = await platform.answer(ContinuationId(continuation_id), response, actor=actor)
            return await self._rest(platform, run_id, on_event, on_text)

        return self._do(resume)
