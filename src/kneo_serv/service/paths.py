"""Paths of specs that callers name: found within one folder, and told relative to it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError, SpecParseError, SpecPathConfinementError
from kneo_serv.service.errors import RequestRefused
from kneo_serv.spec import Diagnostic, SpecCompilationError, ValidationReport, confine_spec_path

CONFINED = "The path leads out of the folder for specs. Use a path inside it, or have KNEO_SERV_SPEC_ROOT set."
MISSING = "There is no spec file at this path, or it cannot be read."


_REMEMBERED = 256
_SECONDS = 2.0


class FoundFiles:
    """Where files were found a moment ago: looking for one takes dozens of calls of the system."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._found: dict[tuple[Path, Path, str], tuple[float, str, str]] = {}

    def get(self, root: Path, working: Path, text: str) -> tuple[str, str] | None:
        """The real path of the file and what it is called; None where one has to look."""
        found = self._found.get((root, working, text))
        return found[1:] if found is not None and self._monotonic() < found[0] else None

    def put(self, root: Path, working: Path, text: str, file: str, name: str) -> None:
        """Remembers a file for a moment."""
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[root, working, text] = (self._monotonic() + _SECONDS, file, name)


@dataclass(slots=True)
class SpecPaths:
    """The files that one request names, by their real path, and what each is called."""

    root: Path
    """The folder for specs."""
    working: Path = field(default_factory=Path.cwd)
    files: FoundFiles = field(default_factory=FoundFiles)
    names: dict[str, str] = field(default_factory=dict)

    def find(self, text: str) -> str:
        """The real path of a file in the folder for specs: relative to that folder, else to the working directory.

        Raises:
            RequestRefused: the path leads out of the folder (`spec_path_confined`).
            InvalidRequestError: there is no such file; which one, is not said.
        """
        if "\0" in text:
            raise InvalidRequestError(MISSING)
        if (known := self.files.get(self.root, self.working, text)) is not None:
            self.names[known[0]] = known[1]
            return known[0]
        refused = 0
        places = (self.root, self.working)
        for place in places:
            try:
                # Before anything is known of the file, so that nobody learns what is outside.
                file = confine_spec_path(place.resolve() / text, self.root)
            except SpecPathConfinementError:
                refused += 1
                continue
            if self._is_file(file):
                name = self.names[str(file)] = file.relative_to(self.root.resolve()).as_posix()
                self.files.put(self.root, self.working, text, str(file), name)
                return str(file)
        if refused == len(places) or (refused and self._leads_out(text)):
            raise RequestRefused("spec_path_confined", CONFINED)
        raise InvalidRequestError(MISSING)

    def name(self, file: str) -> str:
        """What a file that was found is called."""
        return self.names.get(file, file)

    def _leads_out(self, text: str) -> bool:
        try:
            confine_spec_path(self.root.resolve() / text, self.root)
        except SpecPathConfinementError:
            return True
        return False

    @staticmethod
    def _is_file(file: Path) -> bool:
        try:
            return file.is_file()
        except (OSError, ValueError):
            return False

    def diagnostics(self, found: Sequence[Diagnostic]) -> list[dict[str, Any]]:
        """Findings as JSON objects that call files by their names here."""
        return [self._named(item).to_dict() for item in found]

    def renamed(self, value: Any) -> Any:
        """A JSON value in which files are called by their names here."""
        if isinstance(value, str):
            return self._without_paths(value)
        if isinstance(value, Mapping):
            return {key: self.renamed(one) for key, one in value.items()}
        return [self.renamed(one) for one in value] if isinstance(value, list) else value

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Has errors call the files by their names here, so that no path of this machine gets out."""
        try:
            yield
        except SpecCompilationError as error:
            raise SpecCompilationError(
                ValidationReport([self._named(one) for one in error.report.diagnostics])
            ) from None
        except SpecPathConfinementError:
            raise RequestRefused("spec_path_confined", CONFINED) from None
        except FileNotFoundError:
            raise InvalidRequestError(MISSING) from None
        except SpecParseError as error:
            raise SpecParseError(self._without_paths(error.message)) from None
        except InvalidRequestError as error:
            raise InvalidRequestError(self._without_paths(error.message)) from None

    def _named(self, item: Diagnostic) -> Diagnostic:
        source = None if item.source is None else self.name(item.source)
        return replace(item, message=self._without_paths(item.message), source=source)

    def _without_paths(self, text: str) -> str:
        for file, name in self.names.items():
            text = text.replace(file, name)
        return text


@dataclass(frozen=True, slots=True)
class FoundSpec:
    """A spec that a request names, as the compiler takes it."""

    spec: Mapping[str, Any] | None
    spec_path: str | None
    overlays: list[str] | None
    paths: SpecPaths

    @property
    def source(self) -> Mapping[str, Any] | str:
        """The spec itself, or where it is."""
        return self.spec if self.spec is not None else self.spec_path or ""

    @property
    def shown_path(self) -> str | None:
        """The path as it is told and kept."""
        return None if self.spec_path is None else self.paths.name(self.spec_path)

    @property
    def shown_overlays(self) -> list[str]:
        """The paths of the overlays as they are told and kept."""
        return [self.paths.name(overlay) for overlay in self.overlays or ()]


def found_spec(
    spec: Mapping[str, Any] | None,
    spec_path: str | None,
    overlays: Sequence[str],
    root: Path,
    *,
    working: Path | None = None,
    files: FoundFiles | None = None,
) -> FoundSpec:
    """The spec that a request names; the inline one wins. Reads no file, but looks whether they are there.

    Raises:
        InvalidRequestError: neither is given, or a file is not there.
        RequestRefused: a path leads out of the folder for specs.
    """
    paths = SpecPaths(root, working or Path.cwd(), files or FoundFiles())
    if spec is None and not spec_path:
        raise InvalidRequestError("Either spec or spec_path is needed.")
    file = None if spec is not None or not spec_path else paths.find(spec_path)
    return FoundSpec(spec, file, [paths.find(overlay) for overlay in overlays] or None, paths)
