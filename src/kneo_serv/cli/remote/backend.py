"""Runs and people's tasks, kept by a service."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kneo_serv.cli.backend import Answer, ForkOrder, RunOrder, ScheduleOrder
from kneo_serv.cli.refusal import Interrupted, NotOffered, ServiceFault, ServiceRefusal
from kneo_serv.cli.remote.client import ServiceClient
from kneo_serv.cli.remote.follower import RunFollower
from kneo_serv.cli.remote.spec import ServedSubject
from kneo_serv.cli.terminal import warn
from kneo_serv.errors import NotFoundError
from kneo_serv.model.page import RunFilter
from kneo_serv.model.run import PAUSED, RunStatus
from kneo_serv.model.task import HumanResponse

if TYPE_CHECKING:
    from kneo_serv.cli.following import Listener
    from kneo_serv.cli.workspace import Workspace
    from kneo_serv.platform.retention import RetentionPolicy

_FIRST_WAIT = 1.0
"""Seconds after which a run that goes on tells its id, so that whoever stops waiting knows how to follow it."""
_HARDLY = 0.001
_LONGEST_WAIT = 20.0
"""Seconds that one question for news of a run lasts; proxies cut what lasts longer than half a minute."""
_OF_A_RUN = ("run_id", "status")
_PAGE = 1000
_JOURNALS = 200
"""How many journals one request has looked through, so that it does not take too long."""
_EVERYTHING = 10**9
_WINDOW = 10_000
"""How far a list can be read by offsets."""

type _Send = Callable[[bool], Answer | None]
"""Sends a request that starts or moves a run; True when it was sent before. None while the service is at work on it."""


class ServiceBackend:
    """The platform behind a service. Texts of runs are the public ones, without secrets."""

    def __init__(self, workspace: "Workspace", client: ServiceClient) -> None:
        self._workspace = workspace
        self._client = client
        self._patience = min(_FIRST_WAIT, client.seconds / 2)

    def run(self, order: RunOrder, listener: "Listener") -> Answer:
        """Starts a run and waits until it rests or ends."""
        subject = ServedSubject(self._workspace, order.spec, order.overlays, self._client)
        subject.refuse_by_policy()
        body: dict[str, Any] = {
            "input": order.input_text,
            "spec": subject.document,
            "target": order.target,
            "environment": self._workspace.environment,
            "metadata": {"spec_path": str(order.spec)},
            "wait": self._first_wait(listener),
        }
        if order.timeout_seconds is not None:
            body["timeout_seconds"] = order.timeout_seconds
        if order.session_id is not None:
            body["session_id"] = order.session_id
        if order.tags:
            body["tags"] = list(order.tags)
        if order.queue is not None:
            body["queue"] = order.queue
        if order.priority is not None:
            body["priority"] = order.priority
        with subject.located():
            # What no header takes is no trace context either.
            trace = {name: text for name, text in order.trace.items() if text and text.isascii() and text.isprintable()}
            return self._settled(self._sending("/runs", body, trace), listener, "kneo runs list")

    def continue_run(self, run_id: str, listener: "Listener") -> Answer:
        """Takes a failed run up after its last finished step."""
        path = f"/runs/{_segment('run', run_id)}/continue"
        return self._settled(self._sending(path, wait=self._first_wait(listener)), listener, f"kneo runs get {run_id}")

    def preview_fork(self, run_id: str, at_sequence: int | None) -> Answer:
        """What a fork would keep, and what it may do once more."""
        path = f"/runs/{_segment('run', run_id)}/fork-preview"
        return self._client.read(path, "kept_steps", at_sequence=at_sequence)

    def fork(self, order: ForkOrder, listener: "Listener") -> Answer:
        """Starts a run from the middle of another one, and waits until it rests or ends."""
        body: dict[str, Any] = {
            "at_sequence": order.at_sequence,
            "retry": order.retry,
            "input": order.input_text,
            "answer": None if order.answer is None else _decision(order.answer),
            "model": None if order.model is None else dict(order.model),
            "accept_side_effects": order.accept_side_effects,
            "wait": self._first_wait(listener),
        }
        path = f"/runs/{_segment('run', order.run_id)}/fork"
        given = {name: value for name, value in body.items() if value is not None}
        answer = self._settled(self._sending(path, given), listener, "kneo runs list")
        if "forked_from" not in answer:
            # It ended with a refusal, whose answer is made from the run.
            rows = self._all(f"/runs/{answer['run_id']}/trace", "events", event_type="workflow_forked")
            at_sequence = rows[-1]["metadata"]["at_sequence"] if rows else None
            answer["forked_from"] = {"run_id": order.run_id, "at_sequence": at_sequence}
        return answer

    def resume(self, continuation_id: str, response: HumanResponse, listener: "Listener") -> Answer:
        """Answers a human task; the run goes on from there."""
        body = _decision(response)
        path = f"/human-tasks/{_segment('human task', continuation_id)}/resume"
        return self._settled(self._sending(path, body, wait=self._first_wait(listener)), listener, "kneo runs list")

    def cancel(self, run_id: str) -> Answer:
        """Ends a run early, and shows it."""
        path = f"/runs/{_segment('run', run_id)}/cancel"
        return _view(self._client.write(path, self._client.new_key()))

    def get_run(self, run_id: str) -> Answer:
        """One run."""
        return _view(self._client.read(f"/runs/{_segment('run', run_id)}", *_OF_A_RUN))

    def list_runs(self, filters: RunFilter, *, limit: int, offset: int) -> tuple[list[Answer], int]:
        """Some of the runs that pass the filter, newest first, and how many pass."""
        page = self._client.read(
            "/runs",
            "runs",
            "total",
            status=",".join(filters.status) or None,
            workflow_name=filters.workflow_name,
            agent_name=filters.agent_name,
            session_id=filters.session_id,
            q=filters.q,
            limit=limit,
            offset=offset,
        )
        return [_view(row) for row in page["runs"]], page["total"]

    def trace(self, run_id: str) -> list[Answer]:
        """The time line of a run."""
        return self._all(f"/runs/{_segment('run', run_id)}/trace", "events")

    def checkpoints(self, run_id: str) -> list[Answer]:
        """The checkpoints of a run."""
        return self._all(f"/runs/{_segment('run', run_id)}/checkpoints", "checkpoints")

    def replay(self, run_id: str) -> Answer:
        """What a continuation would know of a run."""
        return _view(self._client.read(f"/runs/{_segment('run', run_id)}/replay", "timeline"))

    def checkpoint_diff(self, run_id: str, *, from_sequence: int | None, to_sequence: int | None) -> Answer:
        """What changed between two checkpoints."""
        return self._client.read(
            f"/runs/{_segment('run', run_id)}/checkpoints/diff",
            "change_count",
            from_sequence=from_sequence,
            to_sequence=to_sequence,
        )

    def list_tasks(self, *, limit: int) -> list[Answer]:
        """Open human tasks."""
        return list(self._client.read("/human-tasks", "tasks", limit=limit)["tasks"])

    def get_task(self, continuation_id: str) -> Answer:
        """What one human task asks."""
        task = self._client.read(f"/human-tasks/{_segment('human task', continuation_id)}", "request")
        return dict(task["request"] or {})

    def list_audit(self, *, run_id: str | None, event_type: str | None, limit: int) -> tuple[list[Answer], int]:
        """Some of the audit's events, newest first, and how many there are."""
        page = self._client.read("/audit-events", "events", "total", run_id=run_id, event_type=event_type, limit=limit)
        return list(page["events"]), page["total"]

    def check_journals(self, *, limit: int | None) -> list[Answer]:
        """What is wrong with the journals of the newest runs."""
        findings: list[Answer] = []
        left = _EVERYTHING if limit is None else limit
        cursor: str | None = None
        while left > 0:
            part = self._client.read(
                "/journals/findings", "findings", "checked", limit=min(left, _JOURNALS), cursor=cursor
            )
            findings += part["findings"]
            left -= part["checked"]
            cursor = part.get("next_cursor")
            if cursor is None:
                break
        return findings

    def limits(self) -> Answer:
        """The limits that hold for all workers."""
        return dict(self._client.read("/limits", "limits")["limits"])

    def set_limits(self, limits: Any) -> Answer:
        """Sets them all, and gives them back."""
        return dict(self._client.put("/limits", "limits", body=limits)["limits"])

    def providers(self) -> list[Answer]:
        """The providers that failed lately, are paused, or are bounded."""
        return list(self._client.read("/providers", "providers")["providers"])

    def pause_provider(self, name: str, reason: str | None) -> Answer:
        """Has nobody ask it."""
        return self._client.look(f"/providers/{_segment('provider', name)}/pause", "standing", body={"reason": reason})

    def resume_provider(self, name: str) -> Answer:
        """Has it asked again."""
        return self._client.look(f"/providers/{_segment('provider', name)}/resume", "standing", body={})

    def prune(self, policy: "RetentionPolicy | None", *, dry_run: bool) -> Answer:
        """Nothing: services prune by themselves."""
        raise NotOffered("be told to prune, it does so by itself", "kneo prune")

    def export_run(self, run_id: str, *, private: bool) -> Iterator[str]:
        """A run as lines of JSON."""
        if private:
            raise NotOffered("give the private texts of a run away", f"kneo runs export {run_id} --private")
        return self._client.lines(f"/runs/{_segment('run', run_id)}/export")

    def delete_run(self, run_id: str) -> None:
        """Removes a run that has ended."""
        self._client.remove(f"/runs/{_segment('run', run_id)}")

    def list_schedules(self) -> list[Answer]:
        """All schedules, by name."""
        return self._all("/schedules", "schedules")

    def create_schedule(self, order: ScheduleOrder) -> Answer:
        """Makes a schedule of the spec as it is now, and shows it."""
        subject = ServedSubject(self._workspace, order.spec, order.overlays, self._client)
        subject.refuse_by_policy()
        body: dict[str, Any] = {
            "name": order.name,
            "spec": subject.document,
            "input": order.input_text,
            "target": order.target,
            "environment": self._workspace.environment,
            "overlap": order.overlap,
            "catch_up": order.catch_up,
            "jitter_seconds": order.jitter_seconds,
            "paused": order.paused,
        }
        if order.cron is not None:
            body |= {"cron": order.cron, "timezone": order.timezone}
        if order.at is not None:
            body["at"] = datetime.fromtimestamp(order.at, UTC).isoformat()
        if order.timeout_seconds is not None:
            body["timeout_seconds"] = order.timeout_seconds
        if order.session_id is not None:
            body["session_id"] = order.session_id
        if order.tags:
            body["tags"] = list(order.tags)
        with subject.located():
            return self._client.change("/schedules", "name", body=body)

    def get_schedule(self, name: str, *, moments: int = 5) -> Answer:
        """One schedule, with its next moments."""
        return self._client.read(f"/schedules/{_segment('schedule', name)}", "name", moments=moments)

    def pause_schedule(self, name: str) -> Answer:
        """Keeps no moment of a schedule any more, and shows it."""
        return self._client.change(f"/schedules/{_segment('schedule', name)}/pause", "name")

    def resume_schedule(self, name: str) -> Answer:
        """Goes on with a schedule, and shows it."""
        return self._client.change(f"/schedules/{_segment('schedule', name)}/resume", "name")

    def delete_schedule(self, name: str) -> None:
        """Removes a schedule."""
        self._client.remove(f"/schedules/{_segment('schedule', name)}")

    def trigger_schedule(self, name: str, listener: "Listener") -> Answer:
        """Runs what a schedule runs now, and waits until it rests or ends."""
        path = f"/schedules/{_segment('schedule', name)}/trigger"
        run_id = self._client.write(path, self._client.new_key())["run_id"]
        listener.on_remark(f"Run {run_id} is at work at {self._client.destination.url}.")
        try:
            with _named(run_id):
                while True:
                    wait = min(_LONGEST_WAIT, self._client.seconds / 2)
                    view = self._client.read(f"/runs/{_segment('run', run_id)}", *_OF_A_RUN, wait=wait)
                    if RunStatus(view["status"]) not in (RunStatus.CREATED, RunStatus.RUNNING):
                        return _outcome(view)
        except KeyboardInterrupt:
            raise Interrupted(
                f"Nobody waits any more; what was begun goes on in the service: `kneo runs get {run_id}`."
            ) from None

    def _all(self, path: str, name: str, **query: Any) -> list[Answer]:
        rows: list[Answer] = []
        while True:
            page = self._client.read(path, name, "total", limit=_PAGE, offset=len(rows), **query)
            rows += page[name]
            if len(page[name]) < _PAGE or len(rows) > _WINDOW:
                break
        if page["total"] > len(rows):
            warn(f"These are the first {len(rows)} of {page['total']}.")
        return rows

    def _first_wait(self, listener: "Listener") -> float:
        """Seconds that the first request waits: hardly any where somebody wants to hear what happens meanwhile."""
        if listener.is_deaf:
            return self._patience
        # Who says 0 is waited for by what models say; without a listener to that they need not be asked for streams.
        return _HARDLY if listener.on_text is None else 0.0

    def _sending(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> _Send:
        key = self._client.new_key()

        def send(again: bool) -> Answer | None:
            ask = self._client.attached if again else self._client.write
            return ask(path, key, body, headers=headers, **query)

        return send

    def _settled(self, send: _Send, listener: "Listener", otherwise: str) -> Answer:
        """The answer once the run rests or ends: the same request brings it, however often it is sent.

        Whoever stops waiting is told the command that shows the run, which is `otherwise` while its id is unknown.
        """
        run_id: str | None = None
        follower: RunFollower | None = None
        remarked = False
        try:
            answer = send(False)
            while answer is None or _goes_on(answer):
                pause = min(_LONGEST_WAIT, self._client.seconds / 2)
                if run_id is None and answer is not None:
                    run_id = str(answer["run_id"])
                    follower = self._follower(answer, listener)
                    pause = pause if listener.is_deaf else self._patience
                elif not remarked:
                    remarked = True
                    listener.on_remark(f"Run {run_id} is at work at {self._client.destination.url}.")
                with _named(run_id):
                    self._client.read(f"/runs/{_segment('run', str(run_id))}", wait=pause)
                    answer = send(True)
            if follower is not None:
                follower.finish()
        except ServiceRefusal as refusal:
            ended = _ended_by(refusal)
            if ended is None:
                raise
            if follower is not None:
                follower.finish()
            return _outcome(self._client.read(f"/runs/{_segment('run', ended)}", *_OF_A_RUN))
        except KeyboardInterrupt:
            follow = otherwise if run_id is None else f"kneo runs get {run_id}"
            raise Interrupted(f"Nobody waits any more; what was begun goes on in the service: `{follow}`.") from None
        finally:
            if follower is not None:
                follower.stop()
        return {name: value for name, value in answer.items() if name != "error" or value is not None}

    def _follower(self, answer: Answer, listener: "Listener") -> RunFollower | None:
        """Who tells the listener what happens in the run; nobody where the service does not say from where on."""
        after = answer.get("metadata", {}).get("events_after")
        if listener.is_deaf or not isinstance(after, int):
            return None
        run_id = str(answer["run_id"])
        path = f"/runs/{_segment('run', run_id)}/events"
        return RunFollower(self._client, run_id, listener, path=path, after=after)


@contextmanager
def _named(run_id: str | None) -> Iterator[None]:
    try:
        yield
    except ServiceFault as fault:
        if isinstance(fault, ServiceRefusal):
            raise
        hint = f"Run {run_id} was begun, and goes on where it is: `kneo runs get {run_id}`."
        raise type(fault)(
            fault.wire_code, fault.message, hint=hint, facts={**fault.facts(), "run_id": run_id}
        ) from fault


def _ended_by(refusal: ServiceRefusal) -> str | None:
    """The run that the refusal of a guardrail or a budget has ended: an outcome like others."""
    facts = refusal.facts()
    is_end = "violation_type" in facts or refusal.wire_code in ("token_budget_exceeded", "budget_exceeded")
    return str(facts["run_id"]) if is_end and "run_id" in facts else None


def _segment(kind: str, name: str) -> str:
    """The id as a part of a path. Raises NotFoundError for one that nothing can have."""
    if not name.strip(".") or "/" in name:
        raise NotFoundError(kind, name)
    return quote(name, safe="")


def _decision(response: HumanResponse) -> dict[str, Any]:
    given = {"content": response.content, "selected_option": response.selected_option}
    return {
        "request_id": response.request_id,
        "decision": str(response.decision),
        **{name: text for name, text in given.items() if text is not None},
    }


def _goes_on(answer: Answer) -> bool:
    return bool(answer["status"] == RunStatus.RUNNING and not answer.get("error"))


def _view(view: Mapping[str, Any]) -> Answer:
    """A view of a run as the platform in this process shows it: its kind is the type of its workflow."""
    shown = {name: value for name, value in view.items() if name != "workflow_type"}
    if "workflow_type" in view:
        shown["workflow_kind"] = view["workflow_type"]
    return shown


def _outcome(view: Mapping[str, Any]) -> Answer:
    """What a caller gets of a run, told from its view."""
    blocked = view["status"] == RunStatus.BLOCKED
    answer: Answer = {
        "run_id": view["run_id"],
        "status": PAUSED if blocked else view["status"],
        "output_text": view.get("output_text") if view["status"] == RunStatus.COMPLETED else None,
        "human_intervention_required": blocked,
        "continuation_id": view.get("continuation_id") if blocked else None,
        "metadata": {
            "workflow": {
                "name": view.get("workflow_name"),
                "type": view.get("workflow_type"),
                "visited_steps": view.get("visited_steps", []),
            },
            "usage": view.get("usage"),
        },
    }
    return {**answer, "error": view["error"]} if view.get("error") else answer
