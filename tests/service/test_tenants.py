"""No route leaks across tenants: a table with a row for every route of the app, so that a new route needs a row too."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from fastapi.testclient import TestClient

from kneo_serv.model.ids import RunId
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.submission import Submission
from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.routes import METRICS, ROUTERS
from tests.service.doors import AGENT, HUMAN, door, platform_in
from tests.service.listening import listening

NORTH, SOUTH = "north", "south"
KEYS = AuthConfig.from_plaintext_keys(
    [
        (NORTH, "north-key", ["service", "policies:write", "tenant=north"]),
        (SOUTH, "south-key", ["service", "policies:write", "tenant=south"]),
        ("all", "all-key", ["admin"]),
    ]
)


@dataclass(frozen=True)
class Belongings:
    """A run of a tenant that waits for a person, in the environment `prod`, and a schedule that names it."""

    tenant: str
    run_id: str
    continuation_id: str
    request_id: str

    @property
    def traces(self) -> tuple[str, ...]:
        """What another tenant must never see in an answer."""
        return self.run_id, self.continuation_id, self.request_id, self.schedule, text_of(self.tenant)

    @property
    def schedule(self) -> str:
        return f"schedule-of-{self.tenant}-{self.run_id[-8:]}"


@dataclass(frozen=True)
class Row:
    """What a route is about, and hence what it must not do.

    - `one`: something with an id. That of another tenant is 404, and nothing of it changes.
    - `many`: a list. It holds nothing of another tenant, also when it is asked for by name.
    - `makes`: a new run. It belongs to the caller's tenant.
    - `some`: an answer that may tell of runs. It tells nothing of those of another tenant.
    - `locked`: what holds for all tenants. Nobody who is confined to one may change it.
    - `stream`: what goes on and on. It tells nothing of another tenant, be it old or new.
    - `shared`: nothing of any tenant; `why` says so.
    """

    kind: Literal["one", "many", "makes", "some", "locked", "stream", "shared"]
    body: Callable[[Belongings], Any] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


ONE, MANY = Row("one"), Row("many")
OPEN = Row("shared", why="open to everybody, and tells of the process alone")
SPEC = Row("shared", why="is about the spec that the caller sends")


def answer(its: Belongings) -> dict[str, Any]:
    return {"request_id": its.request_id, "decision": "approved"}


def start(its: Belongings) -> dict[str, Any]:
    return {"input": "tea", "target": "agent", "spec": AGENT}


TABLE: Mapping[str, Row] = {
    "GET /livez": OPEN,
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": OPEN,
    "GET /runs": MANY,
    "POST /runs": Row("makes", start),
    "GET /runs/{}": ONE,
    "POST /runs/{}/cancel": ONE,
    "POST /runs/{}/continue": ONE,
    "GET /runs/{}/fork-preview": ONE,
    "POST /runs/{}/fork": Row("one", lambda its: {"accept_side_effects": True}),
    "DELETE /runs/{}": ONE,
    "GET /runs/{}/export": ONE,
    "GET /runs/{}/graph": ONE,
    "GET /runs/{}/recovery": ONE,
    "GET /runs/{}/replay": ONE,
    "GET /runs/{}/policy-report": ONE,
    "GET /runs/{}/trace": ONE,
    "GET /runs/{}/checkpoints": ONE,
    "GET /runs/{}/checkpoints/diff": ONE,
    "GET /runs/{}/events": Row("one", query={"until": "rest"}),
    "GET /events": Row("stream"),
    "GET /schedules": MANY,
    "POST /schedules": Row("shared", why="makes a schedule of the caller's tenant, as test_schedules proves"),
    "GET /schedules/{}": ONE,
    "PATCH /schedules/{}": Row("one", lambda its: {"tags": ["x"]}),
    "DELETE /schedules/{}": ONE,
    "POST /schedules/{}/pause": ONE,
    "POST /schedules/{}/resume": ONE,
    "POST /schedules/{}/trigger": ONE,
    "GET /human-tasks": MANY,
    "GET /human-tasks/{}": ONE,
    "POST /human-tasks/{}/resume": Row("one", answer),
    "POST /continuations/{}/resume": Row("one", answer),
    "GET /audit-events": MANY,
    "GET /journals/findings": Row("some"),
    "POST /specs/validate": SPEC,
    "POST /specs/compile": SPEC,
    "POST /specs/explain": SPEC,
    "POST /specs/graph": SPEC,
    "POST /specs/policy-report": SPEC,
    "POST /specs/run": Row("makes", start),
    "GET /skills": Row("shared", why="the skills that lie ready on the machine"),
    "GET /security/credentials": Row("shared", why="the credentials of the installation"),
    "GET /policies/environment": Row("shared", why="policies hold for all tenants"),
    "GET /policies/environment/{}": Row("shared", why="policies hold for all tenants"),
    "PUT /policies/environment/{}": Row("locked", lambda its: {}),
    "POST /policies/environment/{}/preview": Row("some", lambda its: {"require_human_review": True}),
    "GET /limits": Row("shared", why="limits hold for all; of tenants it tells the caller's own bound alone"),
    "PUT /limits": Row("locked", lambda its: {}),
    "GET /providers": Row("shared", why="providers are those of the installation"),
    "POST /providers/{}/pause": Row("locked", lambda its: {}),
    "POST /providers/{}/resume": Row("locked", lambda its: {}),
}
"""By method and path, the names of parameters left out. Rows of routes that are not there yet do no harm."""


def text_of(tenant: str) -> str:
    return f"a-plan-of-{tenant}"


def anonymous(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path).removeprefix("/v1")


def routes() -> dict[str, str]:
    """Every route of the app: the key of its row, and its path."""
    found: dict[str, str] = {}
    for path, item in create_app(auth_config=KEYS).openapi()["paths"].items():
        for verb in item.keys() & {"get", "put", "post", "delete", "patch"}:
            found[f"{verb.upper()} {anonymous(path)}"] = path
    for route in [route for router in (*ROUTERS, METRICS) for route in router.routes]:
        for method in getattr(route, "methods", None) or ():
            if method != "HEAD":
                found.setdefault(f"{method} {anonymous(route.path)}", route.path)  # type: ignore[attr-defined]
    return found


def rows(*kinds: str) -> list[tuple[str, Row]]:
    """The rows of these kinds whose routes are there."""
    there = routes()
    return [(key, row) for key, row in TABLE.items() if key in there and row.kind in kinds]


class World:
    """A platform with things of two tenants, and a caller of each at the door."""

    def __init__(self, manager: PlatformManager, client: TestClient) -> None:
        self.manager = manager
        self.client = client
        self._plan = manager.compile_spec(spec=HUMAN).plan

    def given(self, tenant: str) -> Belongings:
        """A run of this tenant that waits for a person."""

        async def begin(platform: Platform) -> Belongings:
            submission = Submission(self._plan, text_of(tenant), environment="prod", tenant=tenant, actor=tenant)
            record = await platform.start(submission, hold=True)
            await platform.run_to_rest(record.id, patience=30)
            (task,) = await platform.store.list_tasks(run_id=record.id)
            return Belongings(tenant, record.id, task.continuation_id, task.request.id)

        its = asyncio.run(self.manager.reach(begin))
        self.manager.create_schedule(
            its.schedule, cron="@yearly", spec=HUMAN, input_text=text_of(tenant), session_id=its.run_id, tenant=tenant
        )
        return its

    def state_of(self, its: Belongings) -> tuple[Any, ...]:
        """All that can change about a run."""

        async def look(platform: Platform) -> tuple[Any, ...]:
            record = await platform.record(RunId(its.run_id))
            schedule = await platform.store.get_schedule(its.schedule, tenant=its.tenant)
            return record.status, len(await platform.events(record.id)), record.tenant, schedule

        return asyncio.run(self.manager.reach(look))

    def ask(self, key: str, row: Row, its: Belongings, *, by: str, **query: Any) -> Any:
        """What the route answers when it is asked about a tenant's things."""
        method, path = key.split(" ")
        name = "prod" if path.startswith("/policies") else its.continuation_id if "human" in path else its.run_id
        if path.startswith("/continuations"):
            name = its.continuation_id
        if path.startswith("/schedules"):
            name = its.schedule
        return self.client.request(
            method,
            f"/v1{path.replace('{}', name)}",
            json=None if row.body is None else row.body(its),
            params={**row.query, **query},
            headers={"Authorization": f"Bearer {by}-key"},
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    manager = platform_in(tmp_path)
    with door(manager, KEYS) as client:
        yield World(manager, client)
    manager.shutdown()


def assert_nothing_of(its: Belongings, answer: Any) -> None:
    for trace in its.traces:
        assert trace not in answer.text, answer.text


def test_every_route_has_a_row() -> None:
    missing = sorted(routes().keys() - TABLE.keys())
    assert not missing, f"say in the table of this module what these routes do with tenants: {missing}"


def test_every_row_without_tenants_says_why() -> None:
    assert not [key for key, row in TABLE.items() if row.kind == "shared" and not row.why]


@pytest.mark.parametrize("key", sorted(key for key, row in rows("one")))
def test_what_belongs_to_another_tenant_is_not_there_and_does_not_change(world: World, key: str) -> None:
    row, mine, theirs = TABLE[key], world.given(NORTH), world.given(SOUTH)
    before = world.state_of(theirs)
    refused = world.ask(key, row, theirs, by=NORTH)
    assert refused.status_code == 404, refused.text
    assert refused.json()["detail"]["error"] == "not_found"
    assert text_of(SOUTH) not in refused.text
    assert world.state_of(theirs) == before
    for allowed in (world.ask(key, row, mine, by=NORTH), world.ask(key, row, theirs, by="all")):
        assert allowed.status_code != 404, allowed.text
        assert allowed.status_code < 500, allowed.text


@pytest.mark.parametrize("key", sorted(key for key, row in rows("many")))
def test_lists_hold_nothing_of_another_tenant(world: World, key: str) -> None:
    row, mine, theirs = TABLE[key], world.given(NORTH), world.given(SOUTH)
    for query in ({}, {"limit": 1}, {"sort_by": "run_id"}, {"limit": 1, "offset": 1}, {"run_id": theirs.run_id}):
        told = world.ask(key, row, mine, by=NORTH, **query)
        if "run_id" not in query:
            assert_nothing_of(theirs, told)
        elif told.status_code == 200:
            assert told.json()["total"] == 0, "the filter finds what is there for the caller only"
    listed = world.ask(key, row, mine, by=NORTH)
    assert listed.status_code == 200, listed.text
    assert mine.run_id in listed.text
    assert listed.json()["total"] == listed.json()["count"], "a total counts what the caller may see"
    everything = world.ask(key, row, mine, by="all").text
    assert mine.run_id in everything
    assert theirs.run_id in everything


def test_what_a_caller_starts_belongs_to_its_tenant(world: World) -> None:
    its = world.given(NORTH)
    for key, row in rows("makes"):
        for made_by in (NORTH, SOUTH):
            made = world.ask(key, row, its, by=made_by)
            assert made.status_code in (200, 202), made.text

            async def owner(platform: Platform, run_id: str = made.json()["run_id"]) -> str | None:
                return (await platform.record(RunId(run_id))).tenant

            assert asyncio.run(world.manager.reach(owner)) == made_by


@pytest.mark.parametrize("key", sorted(key for key, row in rows("some")))
def test_what_is_told_about_runs_leaves_out_those_of_another_tenant(world: World, key: str) -> None:
    mine, theirs = world.given(NORTH), world.given(SOUTH)
    told = world.ask(key, TABLE[key], mine, by=NORTH)
    assert told.status_code == 200, told.text
    assert_nothing_of(theirs, told)


@pytest.mark.parametrize("key", sorted(key for key, row in rows("locked")))
def test_who_is_confined_to_a_tenant_changes_nothing_that_holds_for_all(world: World, key: str) -> None:
    mine = world.given(NORTH)
    assert world.ask(key, TABLE[key], mine, by=NORTH).status_code == 403
    assert world.ask(key, TABLE[key], mine, by="all").status_code == 200


@pytest.mark.parametrize("key", sorted(key for key, row in rows("stream")))
def test_a_stream_tells_nothing_of_another_tenant(world: World, key: str) -> None:
    path = f"/v1{key.split(' ')[1]}"

    async def story() -> None:
        theirs, mine = [await asyncio.to_thread(world.given, tenant) for tenant in (SOUTH, NORTH)]
        key_of_north = {"Authorization": "Bearer north-key"}
        async with listening(world.client.app, path, {"after": 0}, headers=key_of_north) as listener:
            await listener.named("human_intervention_requested")
            later, mine_too = [await asyncio.to_thread(world.given, tenant) for tenant in (SOUTH, NORTH)]
            await listener.named("human_intervention_requested", 2)
            assert {event.data["run_id"] for event in listener.events} == {mine.run_id, mine_too.run_id}
            for its in (theirs, later):
                assert not [trace for trace in its.traces if trace in listener.text]

    asyncio.run(story())


def test_an_idempotency_key_of_one_tenant_means_nothing_to_another_of_the_same_name() -> None:
    config = AuthConfig.from_plaintext_keys(
        [("bot", "one", ["service", "tenant=north"]), ("bot", "two", ["service", "tenant=south"])]
    )
    one, two = config.authenticate("one"), config.authenticate("two")
    assert one is not None
    assert two is not None
    assert one.name == two.name
    assert one.identity != two.identity
