"""Open human tasks as files that people can read: a view for eyes and scripts, never read back as truth."""

import asyncio
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError, StoreError

# Begins with a letter or digit, so no hidden file and no "..", and holds no separator of any system.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
_SUFFIX = ".json"


class ContinuationFolder:
    """Holds one file `<continuation_id>.json` for each open human task.

    The folder is made with the first file (0700, the files 0600). A file appears whole or not at all.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    async def write(self, continuation_id: str, view: Mapping[str, Any]) -> None:
        """Writes the file of a task, or replaces it.

        Raises:
            InvalidRequestError: the id cannot be the name of a file in this folder.
            StoreError: the file cannot be written.
        """
        path = self._path(continuation_id)
        await asyncio.get_running_loop().run_in_executor(None, self._write, path, view)

    async def remove(self, continuation_id: str) -> None:
        """Removes the file of a task; fine when there is none.

        Raises:
            InvalidRequestError: the id cannot be the name of a file in this folder.
            StoreError: the file cannot be removed.
        """
        path = self._path(continuation_id)
        await asyncio.get_running_loop().run_in_executor(None, self._remove, path)

    def list(self) -> list[str]:
        """Ids of the tasks that have a file, sorted."""
        if not self.root.is_dir():
            return []
        names = (path.name.removesuffix(_SUFFIX) for path in self.root.glob(f"*{_SUFFIX}"))
        return sorted(name for name in names if _ID.fullmatch(name))

    def _path(self, continuation_id: str) -> Path:
        if not _ID.fullmatch(continuation_id):
            raise InvalidRequestError(
                f"{continuation_id!r} is no continuation id: it may hold letters, digits, hyphens and underlines only."
            )
        return self.root / f"{continuation_id}{_SUFFIX}"

    def _write(self, path: Path, view: Mapping[str, Any]) -> None:
        text = json.dumps(view, indent=2, ensure_ascii=False) + "\n"
        draft = self.root / f".{path.name}.{secrets.token_hex(4)}"
        try:
            _make_folder(self.root)
            try:
                with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                    # Lone surrogates have no UTF-8 form; a view may show them as question marks.
                    file.write(text.encode("utf-8", "replace").decode())
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"The file {path} cannot be written: {error.strerror or error}. Give this user write permission for "
                f"{self.root}, and free some space if the disk is full."
            ) from error

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"The file {path} cannot be removed: {error.strerror or error}. Give this user write permission for "
                f"{self.root}."
            ) from error


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
