"""The catalogue of skills, over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.doors import as_role, refusal


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, front in (
        ("work/.agents/skills/tables", "name: tables\ndescription: Reads tables."),
        ("work/.claude/skills/letters", "description: >-\n  Writes letters,\n  politely."),
        ("home/.claude/skills/tables", "description: The one of the home folder."),
        ("home/.agents/skills/odd", "description: [not, a, text"),
    ):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(f"---\n{front}\n---\nText")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/SKILL.md").write_text("---\ndescription: Outside.\n---\n")
    (tmp_path / "work/.agents/skills/link").symlink_to(tmp_path / "secret")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_skills_of_the_working_and_the_home_folder_are_listed_by_name(client: TestClient, tmp_path: Path) -> None:
    answer = client.get("/v1/skills")
    assert str(tmp_path) not in answer.text
    listed = answer.json()
    assert listed["skills"] == [
        {"name": "letters", "description": "Writes letters, politely.", "path": "letters"},
        {"name": "odd", "description": "", "path": "odd"},
        {"name": "tables", "description": "Reads tables.", "path": "tables"},
    ]
    del listed["skills"]
    assert listed == {
        "count": 3,
        "total": 3,
        "total_exact": True,
        "window": 10_000,
        "limit": 100,
        "offset": 0,
        "sort_by": "name",
        "sort_order": "asc",
        "next_cursor": None,
    }


def test_a_page_is_cut_from_the_sorted_catalogue(client: TestClient) -> None:
    asked: dict[str, Any] = {"sort_by": "description", "sort_order": "desc", "limit": 1, "offset": 1}
    listed = client.get("/skills", params=asked).json()
    assert ([row["name"] for row in listed["skills"]], listed["count"], listed["total"]) == (["tables"], 1, 3)
    assert client.get("/skills", params={"offset": 50}).json()["skills"] == []
    assert client.get("/skills", params={"sort_by": "nothing.there"}).json()["count"] == 3
    assert client.get("/skills", params={"limit": 0}).status_code == 422


def test_the_catalogue_is_for_those_who_may_read_specs(guarded: TestClient) -> None:
    assert guarded.get("/v1/skills", headers=as_role("viewer")).status_code == 200
    assert refusal(guarded.get("/v1/skills", headers=as_role("reviewer")), 403)["required_scope"] == "specs:read"
