"""Calls about forks of runs."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunResult
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform.calls.calling import Calling, OnEvent, OnText
from kneo_serv.platform.forking import AgentProblem, ForkRequest
from kneo_serv.platform.past import ForkPreview
from kneo_serv.platform.platform import Platform


class ForkCalls(Calling):
    """Starting a new run from the middle of another one."""

    def preview_fork(self, run_id: str, at_sequence: int | None = None) -> ForkPreview:
        """What a fork at a checkpoint (see `list_checkpoints`) would keep, and which side effects it may repeat.

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: there is no such checkpoint, or the run has ended there.
        """
        return self._do(lambda platform: platform.forks.preview(RunId(run_id), at_sequence))

    def fork_run(
        self,
        run_id: str,
        *,
        at_sequence: int | None = None,
        input_text: str | None = None,
        answer: HumanResponse | None = None,
        model: Mapping[str, Any] | None = None,
        accept_side_effects: bool = False,
        actor: str | None = None,
        wait: bool = True,
        on_event: OnEvent | None = None,
        on_text: OnText | None = None,
    ) -> RunResult:
        """Makes a new run that begins with this one's history, and takes it on from there; this one stays as it is.

        What is finished at the checkpoint is kept byte for byte; what was in flight begins again, and open questions
        are asked anew under new ids. Deadline, tokens and times of the new run begin with it.

        The idempotency keys of its calls begin with its own id: they never are those of the parent, and a service that
        is called again takes the call for a new one. So side effects that the parent had after the checkpoint need
        `accept_side_effects`, but for those that are declared idempotent.

        Args:
            run_id: The parent, in whatever status.
            at_sequence: Sequence of the checkpoint; None is the last one that can be gone on from.
            input_text: Replaces the text that flows into the next step; at checkpoint 1 that is the run's input.
            answer: Answers the question that is open at the checkpoint (type `human_pause`) at once; its `request_id`
                is the parent's, and may be empty where only one question is open.
            model: `provider` and `name`, and what else of the model is to change; for all agents from here on.
            accept_side_effects: Whether what `preview_fork` lists may happen once more.
            actor: Who does it, for the audit.
            wait: Whether to execute the new run until it rests or ends; else a worker does.
            on_event: Is told the events that follow the copied ones.
            on_text: Is told what models say in them.

        Raises:
            NotFoundError: there is no such run.
            ForkConsentRequiredError: side effects may be repeated; nothing was stored.
            InvalidRequestError: there is no such checkpoint, or what is to be changed does not fit it.
            RequestIdMismatchError, DecisionNotAllowedError: the answer does not fit the question.
            QueueFullError: no more runs are taken in.
        """
        request = ForkRequest(input_text, answer, model, accept_side_effects, actor)
        return self._do(
            lambda platform: self._fork(platform, RunId(run_id), request, at_sequence, wait, on_event, on_text)
        )

    def retry_run(
        self,
        run_id: str,
        *,
        input_text: str | None = None,
        answer: HumanResponse | None = None,
        model: Mapping[str, Any] | None = None,
        accept_side_effects: bool = False,
        actor: str | None = None,
        wait: bool = True,
        on_event: OnEvent | None = None,
        on_text: OnText | None = None,
    ) -> RunResult:
        """Forks a failed, cancelled, timed out or expired run at the last checkpoint before that which ended it.

        The failed step begins anew, as if it had never been tried; to keep what it has finished itself, such as its
        tool calls, use `continue_run`. Else as `fork_run`.

        Raises:
            RunStateConflictError: the run has not ended, or it is completed.
        """
        request = ForkRequest(input_text, answer, model, accept_side_effects, actor)

        async def retry(platform: Platform) -> RunResult:
            sequence = await platform.forks.retry_point(RunId(run_id))
            return await self._fork(platform, RunId(run_id), request, sequence, wait, on_event, on_text)

        return self._do(retry)

    async def _fork(
        self,
        platform: Platform,
        run_id: RunId,
        request: ForkRequest,
        at_sequence: int | None,
        wait: bool,
        on_event: OnEvent | None,
        on_text: OnText | None,
    ) -> RunResult:
        made = await platform.fork(run_id, request, at_sequence=at_sequence, hold=wait, problem=self.agent_problem)
        child = made.run_id
        return await self._rest(platform, child, on_event, on_text) if wait else await platform.result(child)

    @property
    def agent_problem(self) -> AgentProblem | None:
        """What says why an agent cannot run here, where there are runtimes that know."""
        runtimes = self.compiler.runtime_registry
        return None if runtimes is None else runtimes.problem
