"""Events over HTTP: each once and in order, to whom they belong, and for no longer than they may be heard."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from kneo_serv.model.task import HumanResponse
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.feed import FeedFilter
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.submission import Submission
from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.event_stream import EventStream
from kneo_serv.service.followings import FeedFollowing
from kneo_serv.settings import Settings
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from tests.service.doors import AGENT, FAILING, HUMAN, STEPS, as_role, door, keys, platform_in, refusal
from tests.service.listening import PATIENCE, Heard, Listener, heard, listening

QUICK = Settings(event_heartbeat_seconds=0.05)
TRACE = [
    *("workflow_started", "step_started", "run_started", "model_turn_started", "model_turn_completed"),
    *("run_completed", "step_completed", "step_started", "step_completed", "workflow_completed"),
]


def app_over(manager: PlatformManager, auth: AuthConfig | None = None, **given: Any) -> FastAPI:
    return create_app(manager=manager, auth_config=auth or AuthConfig.disabled(), **given)


def done(manager: PlatformManager, spec: dict[str, Any] = STEPS, text: str = "tea", **more: Any) -> str:
    """A run that has come to rest."""
    return manager.run_from_spec(spec=spec, input_text=text, target="workflow", **more).run_id


def asked_of(manager: PlatformManager, run_id: str) -> HumanResponse:
    (task,) = [task for task in manager.list_human_tasks() if task["run_id"] == run_id]
    return HumanResponse(task["pending_human_request"]["id"], "approved")


async def on(work: Callable[[], Any]) -> Any:
    """A blocking call, while the loop goes on."""
    return await asyncio.to_thread(work)


def names(events: list[Heard]) -> list[str]:
    return [event.name for event in events]


def has(count: int, listener: Listener) -> bool:
    return len(listener.events) >= count


def rows(client: TestClient, run_id: str) -> list[dict[str, Any]]:
    listed = client.get(f"/v1/runs/{run_id}/trace", params={"sort_by": "sequence"}).json()["events"]
    assert isinstance(listed, list)
    return listed


@asynccontextmanager
async def served(manager: PlatformManager, auth: AuthConfig | None = None, **given: Any) -> AsyncIterator[FastAPI]:
    """An app, which is not let go before its streams are over."""
    app = app_over(manager, auth, settings=given.pop("settings", QUICK), **given)
    yield app
    assert len(app.state.service.streams) == 0


def test_the_stream_of_a_run_that_has_ended_is_its_trace_and_the_way_it_ended(
    manager: PlatformManager, client: TestClient
) -> None:
    run_id = done(manager)
    answer = client.get(f"/v1/runs/{run_id}/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"]
    assert "content-length" not in answer.headers
    assert "content-encoding" not in answer.headers
    opening, *events, end = heard(answer.text)
    assert opening == Heard("", retry=2000)
    assert [event.data for event in events] == rows(client, run_id)
    assert names(events) == TRACE == [event.data["type"] for event in events]
    assert end.name == "end"
    assert end.id is None
    assert end.data == {
        "type": "end", "run_id": run_id, "status": "completed", "sequence": events[-1].data["sequence"],
        "continuation_id": None, "error": None,
    }  # fmt: skip


def test_whichever_id_was_heard_last_all_that_follows_comes_once(manager: PlatformManager, client: TestClient) -> None:
    run_id = done(manager)
    whole = [event for event in heard(client.get(f"/v1/runs/{run_id}/events").text) if event.id is not None]
    assert len({event.id for event in whole}) == len(whole) == len(TRACE)
    for place, event in enumerate(whole):
        assert event.id is not None
        again = client.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": event.id}, params={"after": 1})
        assert [one for one in heard(again.text) if one.id is not None] == whole[place + 1 :]
    behind = client.get(f"/v1/runs/{run_id}/events", params={"after": whole[2].data["sequence"]})
    assert [one for one in heard(behind.text) if one.id is not None] == whole[3:]


def test_only_the_types_that_were_asked_for_are_told_and_the_end(manager: PlatformManager, client: TestClient) -> None:
    run_id = done(manager)
    for wanted in (["step_started,step_completed"], ["step_started", "step_completed"]):
        query = {"event_type": wanted}
        told = heard(client.get(f"/v1/runs/{run_id}/events", params=query).text)
        assert names(told)[1:] == ["step_started", "step_completed", "step_started", "step_completed", "end"]
    nothing = heard(client.get(f"/v1/runs/{run_id}/events", params={"event_type": "no_such"}).text)
    assert names(nothing)[1:] == ["end"]


def test_a_run_that_failed_ends_its_stream_with_its_error(manager: PlatformManager, client: TestClient) -> None:
    end = heard(client.get(f"/v1/runs/{done(manager, FAILING)}/events").text)[-1]
    assert (end.name, end.data["status"]) == ("end", "failed")
    assert end.data["error"] == {"type": "ValueError", "message": "cannot do tea"}


def test_secrets_are_in_no_event(manager: PlatformManager, client: TestClient) -> None:
    key = "sk-abcdefghijklmnopqrstuvwx"
    run_id = done(manager, STEPS, f"the key is {key}")
    assert key not in client.get(f"/v1/runs/{run_id}/events").text


def test_events_come_while_a_run_goes_on_and_its_rest_is_told_of(manager: PlatformManager) -> None:
    async def story() -> None:
        run_id = await on(lambda: done(manager, HUMAN))
        async with served(manager) as app:
            async with listening(app, f"/v1/runs/{run_id}/events", {"until": "rest"}) as rested:
                end = (await rested.end())[-1]
                assert (end.name, end.data["status"]) == ("end", "blocked")
                assert end.data["continuation_id"].startswith("cont_")
            async with listening(app, f"/v1/runs/{run_id}/events") as whole:
                await whole.named("human_intervention_requested")
                await whole.named(":", 2)
                answer = await on(lambda: asked_of(manager, run_id))
                await on(lambda: manager.resume_human_task(end.data["continuation_id"], response=answer))
                assert names(await whole.end())[-2:] == ["workflow_completed", "end"]

    asyncio.run(story())


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[PlatformManager]:
    made = platform_in(tmp_path, workers=False)
    yield made
    made.shutdown()


def test_what_a_model_says_comes_between_the_events_and_has_no_id(
    idle: PlatformManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {**AGENT, "agent": {"name": "a", "model": {"provider": "openai", "name": "m"}}}

    async def told(app: FastAPI, **query: Any) -> list[Heard]:
        run_id = (await on(lambda: idle.start_run_from_spec(spec=spec, input_text="tea", target="agent"))).id
        async with listening(app, f"/v1/runs/{run_id}/events", query) as listener:
            await listener.named("workflow_started")
            await on(idle.start_worker)
            return await listener.end()

    async def story() -> None:
        async with served(idle) as app:
            with_text = await told(app)
            deltas = [event for event in with_text if event.name == "text_delta"]
            assert "".join(event.data["text"] for event in deltas) == "Tea is a drink."
            assert all(event.id is None for event in deltas)
            assert {(event.data["step_id"], event.data["turn"], event.data["void"]) for event in deltas} == {
                (deltas[0].data["step_id"], 1, False)
            }
            place = names(with_text).index("text_delta")
            assert names(with_text)[place - 1] == "model_turn_started"
            assert "text_delta" not in names(await told(app, deltas="false"))

    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with ScriptedOpenAI([text("Tea is a drink.")] * 2) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        asyncio.run(story())


def test_what_cannot_be_streamed_is_refused_before_the_stream_begins(
    manager: PlatformManager, guarded: TestClient
) -> None:
    run_id = done(manager)
    viewer = as_role("viewer")
    for path in (f"/v1/runs/{run_id}/events", "/v1/events", f"/runs/{run_id}/events", "/events"):
        assert refusal(guarded.get(path), 401)["error"] == "unauthorized"
        assert refusal(guarded.get(path, params={"tail": 1}, headers=viewer), 422)["unknown"] == ["tail"]
        for header in ("x", "-1", "1e3", "9" * 30, "1.x", "1\t2"):
            refused = refusal(guarded.get(path, headers={**viewer, "Last-Event-ID": header}), 422)
            assert (refused["error"], refused["param"]) == ("invalid_event_id", "Last-Event-ID")
        for query in ({"after": -1}, {"after": "x"}, {"after": 10**30}):
            assert guarded.get(path, params=query, headers=viewer).status_code == 422
    assert refusal(guarded.get("/v1/runs/run_none/events", headers=viewer), 404)["error"] == "not_found"
    for query in ({"until": "dawn"}, {"deltas": "perhaps"}):
        assert guarded.get(f"/v1/runs/{run_id}/events", params=query, headers=viewer).status_code == 422


def test_the_stream_of_all_runs_tells_what_is_new_in_light_rows(manager: PlatformManager) -> None:
    async def story() -> None:
        await on(lambda: done(manager))
        async with served(manager) as app, listening(app, "/v1/events") as listener:
            await listener.until(lambda one: one.status)
            first = await on(lambda: done(manager))
            second = await on(lambda: done(manager, FAILING))
            await listener.named("workflow_failed")
            events = listener.events
            assert {event.data["run_id"] for event in events} == {first, second}
            assert [event.id for event in events] == [f"{event.data['position']}" for event in events]
            assert [int(event.id or 0) for event in events] == sorted({event.data["position"] for event in events})
            assert all(len(json.dumps(event.data).encode()) <= 1024 for event in events)
            assert names(events)[0] == "workflow_started"
            assert events[-1].data["error"] == "ValueError: cannot do tea"
            trace = {row["event_id"] for row in await on(lambda: manager.get_trace(first))}
            assert {event.data["event_id"] for event in events if event.data["run_id"] == first} <= trace

    asyncio.run(story())


def test_the_stream_of_all_runs_goes_on_where_it_was_left(manager: PlatformManager) -> None:
    async def story() -> None:
        runs = [await on(lambda: done(manager)) for _ in range(3)]
        async with served(manager) as app:
            async with listening(app, "/v1/events", {"after": 0}) as listener:
                await listener.named("workflow_completed", 3)
                whole = listener.events
            assert list(dict.fromkeys(event.data["run_id"] for event in whole)) == runs
            for place in range(0, len(whole) - 1, 3):
                known = whole[place].id or ""
                async with listening(app, "/v1/events", {"after": 0}, headers={"Last-Event-ID": known}) as listener:
                    await listener.until(partial(has, len(whole) - place - 1))
                    assert listener.events == whole[place + 1 :]

    asyncio.run(story())


def test_a_sign_of_life_says_how_far_a_filtered_stream_has_come(manager: PlatformManager) -> None:
    async def story() -> None:
        async with served(manager) as app:
            async with listening(app, "/v1/events", {"after": 0, "event_type": "workflow_failed"}) as listener:
                await on(lambda: done(manager))
                newest = await manager.reach(lambda platform: platform.store.last_position())
                await listener.until(lambda one: f"{newest}" in [event.id for event in one.all])
                assert listener.events == []
                assert listener.all[-1].name == ":"
                await on(lambda: done(manager, FAILING))
                (failed,) = await listener.named("workflow_failed")
            async with listening(app, "/v1/events", headers={"Last-Event-ID": f"{newest}"}) as listener:
                assert (await listener.named("workflow_failed")) == [failed]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["run_id", "status", "workflow_name", "agent_name", "session_id"])
def test_the_stream_of_all_runs_is_narrowed_by_what_runs_are(manager: PlatformManager, name: str) -> None:
    async def story() -> None:
        done_id = await on(lambda: done(manager, STEPS, session_id="one"))
        asks = await on(lambda: done(manager, HUMAN, session_id="two"))
        values = {
            "run_id": asks,
            "status": "paused,expired",
            "workflow_name": "with-a-person",
            "agent_name": "echo",
            "session_id": "two",
        }
        async with served(manager) as app, listening(app, "/v1/events", {"after": 0, name: values[name]}) as listener:
            await listener.named("human_intervention_requested")
            told = {event.data["run_id"] for event in listener.events}
            assert told == ({done_id, asks} if name == "agent_name" else {asks})

    asyncio.run(story())


def test_a_tenant_hears_of_its_own_runs_alone(manager: PlatformManager) -> None:
    auth = AuthConfig.from_plaintext_keys(
        [("n", "north-key", ["service", "tenant=north"]), ("s", "south-key", ["service", "tenant=south"])]
    )
    plan = manager.compile_spec(spec=STEPS).plan

    async def made(tenant: str) -> str:
        async def begin(platform: Platform) -> str:
            record = await platform.start(Submission(plan, f"of {tenant}", tenant=tenant), hold=True)
            await platform.run_to_rest(record.id, patience=PATIENCE)
            return record.id

        return await manager.reach(begin)

    async def story() -> None:
        async with served(manager, auth) as app:
            old = [await made("south"), await made("north")]
            north = {"Authorization": "Bearer north-key"}
            async with listening(app, "/v1/events", {"after": 0}, headers=north) as listener:
                await listener.named("workflow_completed")
                new = [await made("south"), await made("north")]
                await listener.named("workflow_completed", 2)
                assert {event.data["run_id"] for event in listener.events} == {old[1], new[1]}
            async with listening(app, "/v1/events", {"after": 0, "run_id": old[0]}, headers=north) as listener:
                await listener.named(":", 2)
                assert listener.events == []
            async with listening(app, f"/v1/runs/{old[0]}/events", headers=north) as listener:
                await listener.until(lambda one: one.over)
                assert listener.status == 404

    asyncio.run(story())


def test_who_hangs_up_frees_everything_at_once(manager: PlatformManager) -> None:
    async def story() -> None:
        run_id = await on(lambda: done(manager, HUMAN))
        app = app_over(manager, settings=Settings(event_heartbeat_seconds=300))
        for path in (f"/v1/runs/{run_id}/events", "/v1/events"):
            async with listening(app, path, {"after": 0}) as listener:
                await listener.named("human_intervention_requested")
                assert len(app.state.service.streams) == 1
            assert len(app.state.service.streams) == 0

        async def at_rest(platform: Platform) -> bool:
            return not platform._users or platform._users == 1

        async with asyncio.timeout(PATIENCE):
            while not await manager.reach(at_rest):
                pass

        async def forgotten(platform: Platform) -> tuple[Any, ...]:
            return platform._feed._reader, set(platform._feed._followers), dict(platform._watch._listeners)

        assert await manager.reach(forgotten) == (None, set(), {})

    asyncio.run(story())


def test_a_reader_who_takes_nothing_holds_up_no_run_and_costs_little(manager: PlatformManager) -> None:
    async def story() -> None:
        async with served(manager) as app:
            slow = listening(app, "/v1/events", {"after": 0}, reads=False)
            async with slow as listener, listening(app, "/v1/events", {"after": 0}) as quick:
                runs = [await on(lambda: done(manager)) for _ in range(30)]
                await quick.named("workflow_completed", 30)
                assert listener.pieces == 0
                listener.reading.set()
                await listener.named("workflow_completed", 30)
                assert [event.id for event in listener.events] == [event.id for event in quick.events]
                assert {event.data["run_id"] for event in listener.events} == set(runs)
                assert listener.largest <= 200 * 1024

    asyncio.run(story())


def test_no_more_streams_are_open_than_are_allowed(manager: PlatformManager) -> None:
    async def story() -> None:
        settings = Settings(event_heartbeat_seconds=0.05, max_event_streams=2)
        async with served(manager, settings=settings) as app:
            async with listening(app, "/v1/events") as one, listening(app, "/v1/events") as two:
                await one.named(":")
                await two.named(":")
                async with listening(app, "/v1/events") as refused:
                    await refused.until(lambda one: one.over)
                assert refused.status == 503
                assert refused.headers["retry-after"] == "5"
                assert json.loads(refused.text)["detail"]["error"] == "too_many_streams"
                assert b"kneo_event_streams_open 2.0" in app.state.service.metrics.text(None)
            async with listening(app, "/v1/events") as again:
                await again.named(":")
        assert b"kneo_event_streams_open 0.0" in app.state.service.metrics.text(None)

    asyncio.run(story())


def test_a_service_that_ends_tells_its_listeners_to_come_back(manager: PlatformManager) -> None:
    async def story() -> None:
        run_id = await on(lambda: done(manager, HUMAN))
        for path in (f"/v1/runs/{run_id}/events", "/v1/events"):
            app = app_over(manager, settings=Settings(event_heartbeat_seconds=300))
            async with listening(app, path, {"after": 0}) as listener:
                await listener.named("human_intervention_requested")
                app.state.service.drain()
                last = (await listener.end())[-1]
                assert (last.name, last.data["reason"], last.retry, last.id) == ("close", "draining", 2000, None)
            async with listening(app, path, {"after": 0}) as late:
                assert (await late.end())[-1].data["reason"] == "draining"

    asyncio.run(story())


def test_a_reader_who_takes_nothing_does_not_hold_up_the_end_of_the_service(manager: PlatformManager) -> None:
    async def story() -> None:
        app = app_over(manager, settings=QUICK)
        async with listening(app, "/v1/events") as listener:
            await listener.named(":")
            listener.reading.clear()
            app.state.service.drain()
            async with asyncio.timeout(PATIENCE):
                while len(app.state.service.streams):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            listener.reading.set()

    asyncio.run(story())


def test_a_client_that_takes_nothing_for_too_long_gives_its_place_free(manager: PlatformManager) -> None:
    async def admitted() -> bool:
        return True

    async def story() -> None:
        service = app_over(manager, settings=QUICK).state.service
        await on(lambda: done(manager))
        stream = EventStream(service, FeedFollowing(FeedFilter(), after=0), admitted=admitted, stalled=0.1)
        async with listening(stream, "/events") as listener:
            await listener.named("workflow_completed")
            listener.reading.clear()
            async with asyncio.timeout(PATIENCE):
                while len(service.streams):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            assert not listener.over

    asyncio.run(story())


def test_a_body_that_nobody_asked_for_does_no_harm(manager: PlatformManager, client: TestClient) -> None:
    path = f"/v1/runs/{done(manager)}/events"
    for body in (b"{", b"\0", b'{"a": NaN}', b"\xff"):
        answer = client.request("GET", path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200
        assert heard(answer.text)[-1].name == "end"


def test_an_app_that_is_served_again_streams_again(manager: PlatformManager) -> None:
    run_id = done(manager)
    app = app_over(manager)
    for _ in range(2):
        with TestClient(app) as client:
            told = heard(client.get(f"/v1/runs/{run_id}/events").text)
            assert told[-1].name == "end"


def test_the_end_of_the_platform_closes_streams_in_words(tmp_path: Path) -> None:
    manager = platform_in(tmp_path)

    async def story() -> None:
        app = app_over(manager, settings=QUICK)
        async with listening(app, "/v1/events") as listener:
            await listener.named(":")
            await on(manager.shutdown)
            last = (await listener.end())[-1]
            assert (last.name, last.data["reason"]) == ("close", "store_unavailable")
            assert "shut down" in last.data["message"]

    asyncio.run(story())


def test_a_key_that_is_taken_back_ends_its_streams_within_a_heartbeat(manager: PlatformManager, tmp_path: Path) -> None:
    async def story() -> None:
        file = tmp_path / "keys"
        file.write_text("a:first:viewer\nb:second:viewer\n")
        file.chmod(0o600)
        run_id = await on(lambda: done(manager, HUMAN))
        async with served(manager, AuthConfig.from_env({"KNEO_SERV_API_KEYS_FILE": str(file)})) as app:
            first, second = ({"Authorization": f"Bearer {key}"} for key in ("first", "second"))
            async with (
                listening(app, "/v1/events", headers=first) as feed,
                listening(app, f"/v1/runs/{run_id}/events", headers=first) as run,
                listening(app, "/v1/events", headers=second) as other,
            ):
                for one in (feed, run, other):
                    await one.named(":")
                file.write_text("b:second:viewer\n")
                for one in (feed, run):
                    last = (await one.end())[-1]
                    assert (last.name, last.data["reason"]) == ("close", "unauthorized")
                await other.named(":", len(other.all) + 2)
                file.write_text("b:second:specs:read\n")
                assert (await other.end())[-1].data["reason"] == "unauthorized"

    asyncio.run(story())


def test_a_key_that_ends_takes_its_streams_along(manager: PlatformManager) -> None:
    async def story() -> None:
        soon = datetime.now(UTC) + timedelta(seconds=3)
        auth = AuthConfig.from_plaintext_keys([("a", "short", ["viewer", f"expires={soon.isoformat()}"])])
        key = {"Authorization": "Bearer short"}
        async with served(manager, auth) as app, listening(app, "/v1/events", headers=key) as listener:
            last = (await listener.end())[-1]
            assert (last.name, last.data["reason"]) == ("close", "unauthorized")
            assert datetime.now(UTC) >= soon

    asyncio.run(story())


def test_also_a_busy_stream_ends_with_its_key(manager: PlatformManager) -> None:
    async def story() -> None:
        auth = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "a:first:viewer"})
        app = app_over(manager, auth, settings=QUICK)
        async with listening(app, "/v1/events", headers={"Authorization": "Bearer first"}) as listener:
            await listener.named(":")
            app.state.service.authenticator._config = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "b:other:viewer"})
            while not listener.over:
                await on(lambda: done(manager))
            assert listener.events[-1].data["reason"] == "unauthorized"

    asyncio.run(story())


def test_head_tells_how_the_answer_would_begin_and_leaves_no_stream_open(manager: PlatformManager) -> None:
    async def story() -> None:
        async with served(manager, settings=Settings(event_heartbeat_seconds=300)) as app:
            async with listening(app, "/v1/events", method="HEAD") as listener:
                await listener.until(lambda one: one.over)
                async with asyncio.timeout(PATIENCE):
                    while len(app.state.service.streams):  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.01)
            assert (listener.status, listener.text) == (200, "")
            assert listener.headers["content-type"].startswith("text/event-stream")

    asyncio.run(story())


def test_how_long_somebody_listened_does_not_count_as_the_time_of_an_answer(
    manager: PlatformManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="kneo_serv.service")

    async def story() -> None:
        async with served(manager) as app:
            async with listening(app, "/v1/events") as listener:
                await listener.named(":", 10)
            shown = app.state.service.metrics.text(None).decode()
            (total,) = [
                float(line.split()[-1])
                for line in shown.splitlines()
                if line.startswith("kneo_http_request_duration_seconds_sum") and 'route="/v1/events"' in line
            ]
            (line,) = [record.fields for record in caplog.records if hasattr(record, "fields")]
            assert line["stream_seconds"] > 0.4
            assert abs(line["duration_ms"] / 1000 - total) < 0.01
            assert (line["path"], line["status_code"]) == ("/v1/events", 200)

    asyncio.run(story())


def test_the_keys_of_roles_may_listen_as_they_may_read(manager: PlatformManager) -> None:
    run_id = done(manager)
    with door(manager, keys()) as client:
        for role in ("admin", "operator", "reviewer", "service", "viewer"):
            assert client.get(f"/v1/runs/{run_id}/events", headers=as_role(role)).status_code == 200
