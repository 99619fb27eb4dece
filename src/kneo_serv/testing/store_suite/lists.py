"""Lists and counts of runs, audit, documents."""
# ruff: noqa: S101 - these are tests

from dataclasses import replace

from kneo_serv.errors import KneoError
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.store.contract import Store
from kneo_serv.testing.store_suite.case import case, refusal
from kneo_serv.testing.store_suite.samples import START, append, audit, ended, new_run, run_id, running


async def _names(store: Store, filters: RunFilter) -> list[str]:
    found = await store.list_runs(filters, Page(sort="created_at", descending=False))
    assert await store.count_runs(filters) == len(found)
    return [run.id.rpartition("_")[2].lstrip("0") for run in found]


@case
async def each_filter_finds_its_runs(store: Store) -> None:
    """Counts agree with lists; conditions hold together."""
    await store.create(new_run("a", workflow_kind="sequential", workflow_name="letters", session_id="s"))
    await store.create(new_run("b", workflow_kind="concurrent", agent_name="writer", created_at=START + 1))
    await store.create(new_run("c", workflow_name="letters", created_at=START + 2, status=RunStatus.BLOCKED))
    await store.append(append("b", 1, ended(RunStatus.FAILED, error_type="Oops", error_message="broke")))
    assert await _names(store, RunFilter()) == ["a", "b", "c"]
    assert await _names(store, RunFilter(status=("failed",))) == ["b"]
    assert await _names(store, RunFilter(status=("failed", "created"))) == ["a", "b"]
    assert await _names(store, RunFilter(status=("paused",))) == ["c"]
    assert await _names(store, RunFilter(status=("unheard",))) == []
    assert await _names(store, RunFilter(workflow_kind="sequential")) == ["a"]
    assert await _names(store, RunFilter(workflow_name="letters")) == ["a", "c"]
    assert await _names(store, RunFilter(agent_name="writer")) == ["b"]
    assert await _names(store, RunFilter(session_id="s")) == ["a"]
    assert await _names(store, RunFilter(has_error=True)) == ["b"]
    assert await _names(store, RunFilter(has_error=False)) == ["a", "c"]
    assert await _names(store, RunFilter(created_after=START + 1)) == ["b", "c"]
    assert await _names(store, RunFilter(created_before=START + 1)) == ["a"]
    assert await _names(store, RunFilter(created_after=START, created_before=START + 1)) == ["a"]
    assert await _names(store, RunFilter(workflow_name="letters", status=("paused",))) == ["c"]


@case
async def a_search_sees_only_what_is_public(store: Store) -> None:
    """Without regard to case; percent signs and underlines are plain characters; secrets are not found."""
    texts = {
        "a": running(output_text="The Invoice"),
        "b": running(output_text="key sk-secret", public_output_text="key ***"),
        "c": running(error_type="Oops", error_message="100% of under_score"),
        "d": running(output_text="underXscore \\ 100 of"),
    }
    for number, (name, projection) in enumerate(texts.items()):
        await store.create(new_run(name, created_at=START + number))
        await store.append(append(name, 1, projection))
    assert await _names(store, RunFilter(q="invoice")) == ["a"]
    assert await _names(store, RunFilter(q="SK-SECRET")) == []
    assert await _names(store, RunFilter(q="***")) == ["b"]
    assert await _names(store, RunFilter(q="0% o")) == ["c"]
    assert await _names(store, RunFilter(q="under_score")) == ["c"]
    assert await _names(store, RunFilter(q="e \\ 1")) == ["d"]
    assert await _names(store, RunFilter(q="score", has_error=False)) == ["d"]


@case
async def pages_are_stable_by_every_sort(store: Store) -> None:
    """Ties are broken by id, so that pages side by side hold each run once."""
    for number in range(12):
        moment = START + number % 3
        await store.create(
            new_run(
                f"{number:02d}",
                created_at=moment,
                updated_at=moment,
                started_at=moment,
                completed_at=moment,
                workflow_name=f"w{number % 2}",
                agent_name="one",
                status=RunStatus.RUNNING if number % 4 else RunStatus.BLOCKED,
            )
        )
    sorts = ("created_at", "updated_at", "started_at", "completed_at", "status", "workflow_name", "agent_name")
    for sort in sorts:
        for descending in (False, True):
            for filters in (RunFilter(), RunFilter(status=("running", "paused")), RunFilter(agent_name="one")):
                page = Page(limit=5, sort=sort, descending=descending)
                pages = [await store.list_runs(filters, replace(page, offset=offset)) for offset in (0, 5, 10, 15)]
                assert [len(part) for part in pages] == [5, 5, 2, 0]
                found = [(getattr(run, sort), run.id) for part in pages for run in part]
                assert found == sorted(found, reverse=descending), (sort, descending)


@case
async def an_unknown_sort_is_refused(store: Store) -> None:
    """With the sorts that there are."""
    injected = store.list_runs(RunFilter(), Page(sort="id; DROP TABLE runs"))
    assert "updated_at" in await refusal(KneoError, injected)


@case
async def counts_follow_the_status(store: Store) -> None:
    """After creation, change and end."""
    for name in "abc":
        await store.create(new_run(name))
    await store.append(append("a", 1, ended()))
    await store.append(append("b", 1))
    counts = {status: await store.count_runs(RunFilter(status=(status,))) for status in RunStatus}
    assert {status: count for status, count in counts.items() if count} == {"created": 1, "running": 1, "completed": 1}
    assert await store.count_runs(RunFilter()) == 3


@case
async def audit_is_listed_newest_first(store: Store) -> None:
    """By type and run, page by page."""
    await store.add_audit([])
    await store.add_audit(
        [
            audit("1", created_at=START + 1),
            audit("3", created_at=START + 3, event_type="run.cancelled", run_id=run_id("a"), continuation_id="cont_t"),
            audit("2", created_at=START + 2, run_id=run_id("a"), metadata={"why": "ö"}, actor=None),
        ]
    )

    async def ids(filters: AuditFilter, limit: int = 100, offset: int = 0) -> list[str]:
        return [found.id for found in await store.list_audit(filters, Page(limit, offset))]

    assert await ids(AuditFilter()) == ["aud_3", "aud_2", "aud_1"]
    assert await ids(AuditFilter(run_id=run_id("a"))) == ["aud_3", "aud_2"]
    assert await ids(AuditFilter(event_type="run.created")) == ["aud_2", "aud_1"]
    assert await ids(AuditFilter(event_type="run.created", run_id=run_id("a"))) == ["aud_2"]
    assert await ids(AuditFilter(), 1, 1) == ["aud_2"]
    assert await store.count_audit(AuditFilter()) == 3
    assert await store.count_audit(AuditFilter(event_type="run.created")) == 2
    (found,) = await store.list_audit(AuditFilter(event_type="run.created", run_id=run_id("a")))
    assert found == audit("2", created_at=START + 2, run_id=run_id("a"), metadata={"why": "ö"}, actor=None)


@case
async def documents_are_set_read_and_removed(store: Store) -> None:
    """Each by its kind and name."""
    assert await store.get_document("policy", "production") is None
    await store.put_document("policy", "production", '{"a":1}')
    await store.put_document("policy", "production", '{"a":2}')
    await store.put_document("policy", "a", "{}")
    await store.put_document("other", "production", "[]")
    assert await store.get_document("policy", "production") == '{"a":2}'
    assert await store.list_documents("policy") == {"a": "{}", "production": '{"a":2}'}
    await store.put_document("policy", "production", None)
    await store.put_document("policy", "unknown", None)
    assert await store.list_documents("policy") == {"a": "{}"}
    assert await store.list_documents("none") == {}


@case
async def health_names_the_backend(store: Store) -> None:
    """And the schema that is applied."""
    health = await store.health()
    assert health.backend
    assert health.schema_version >= 1


@case
async def the_clock_does_not_go_back(store: Store) -> None:
    """Seconds since the epoch."""
    first = await store.now()
    assert first > 1_700_000_000
    assert await store.now() >= first


@case
async def closing_twice_is_fine(store: Store) -> None:
    """And what was accepted before is kept."""
    await store.create(new_run("a"))
    await store.close()
    await store.close()
