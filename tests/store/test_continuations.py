"""Open human tasks lie as readable files in a folder."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from kneo_serv.errors import InvalidRequestError, StoreError
from kneo_serv.store.continuations import ContinuationFolder


def test_a_task_lies_there_as_readable_text(tmp_path: Path) -> None:
    folder = ContinuationFolder(tmp_path / "continuations")
    asyncio.run(folder.write("cont_1", {"title": "Grüße?", "options": ["yes"]}))
    text = (tmp_path / "continuations" / "cont_1.json").read_text(encoding="utf-8")
    assert '  "title": "Grüße?"' in text
    assert json.loads(text) == {"title": "Grüße?", "options": ["yes"]}


def test_the_folder_is_made_with_the_first_file(tmp_path: Path) -> None:
    folder = ContinuationFolder(tmp_path / ".kneo" / "continuations")
    assert folder.list() == []
    asyncio.run(folder.remove("cont_1"))
    assert not (tmp_path / ".kneo").exists()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        asyncio.run(ContinuationFolder(tmp_path / ".kneo" / "continuations").write("cont_1", {}))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / ".kneo").rglob("*")}
    assert modes == {"continuations": 0o700, "cont_1.json": 0o600}
    assert (tmp_path / ".kneo").stat().st_mode & 0o777 == 0o700


def test_a_file_is_replaced_as_a_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    folder = ContinuationFolder(tmp_path)
    for number in range(3):
        asyncio.run(folder.write("cont_1", {"number": number}))
    assert [path.name for path in tmp_path.iterdir()] == ["cont_1.json"]
    assert json.loads((tmp_path / "cont_1.json").read_text()) == {"number": 2}


def test_an_answered_task_has_no_file(tmp_path: Path) -> None:
    folder = ContinuationFolder(tmp_path)
    for name in ("cont_2", "cont_1"):
        asyncio.run(folder.write(name, {}))
    assert folder.list() == ["cont_1", "cont_2"]
    asyncio.run(folder.remove("cont_1"))
    asyncio.run(folder.remove("cont_1"))
    assert folder.list() == ["cont_2"]


@pytest.mark.parametrize("name", ["../out", "a/b", "a\\b", "..", ".hidden", "", "a\0b", "a.b", "/etc/passwd", "ä"])
def test_no_id_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    folder = ContinuationFolder(tmp_path / "continuations")
    for call in (folder.write(name, {}), folder.remove(name)):
        with pytest.raises(InvalidRequestError, match="no continuation id"):
            asyncio.run(call)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        asyncio.run(ContinuationFolder(tmp_path / "file" / "continuations").write("cont_1", {}))
