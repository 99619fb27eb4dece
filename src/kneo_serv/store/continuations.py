"""Readable files of open human tasks beside a local database. A view for people, never read back as truth."""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.ids import ContinuationId

_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")


class ContinuationFolder:
    """A folder with one JSON file for each open task, readable by its owner only.

    Each file appears and changes all at once. The folder is made with the first file.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    async def write(self, continuation_id: ContinuationId, view: Mapping[str, Any]) -> None:
        """Writes the file of a task. Raises InvalidRequestError for an id that is no file name, and OSError."""
        text = json.dumps(view, ensure_ascii=False, indent=2) + "\n"
        await asyncio.to_thread(self._write, self._file(continuation_id), text)

    async def remove(self, continuation_id: ContinuationId) -> None:
        """Removes the file of a task, if there is one. Raises as `write`."""
        await asyncio.to_thread(self._file(continuation_id).unlink, missing_ok=True)

    async def list(self) -> Sequence[ContinuationId]:
        """The tasks that have a file, by name."""
        return await asyncio.to_thread(self._names)

    def _names(self) -> Sequence[ContinuationId]:
        return [ContinuationId(file.stem) for file in sorted(self.root.glob("*.json")) if _NAME.fullmatch(file.stem)]

    def _file(self, continuation_id: ContinuationId) -> Path:
        if not _NAME.fullmatch(continuation_id):
            raise InvalidRequestError(f"{continuation_id!r} is no continuation id.")
        return self.root / f"{continuation_id}.json"

    def _write(self, file: Path, text: str) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.root, prefix=".", suffix=".part")  # readable by its owner only
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as part:
                part.write(text)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
