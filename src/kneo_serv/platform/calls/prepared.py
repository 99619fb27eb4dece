"""Specs that were compiled a moment ago, so that a hundred runs of one spec do not compile it a hundred times."""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kneo_serv.model.clock import Clock
from kneo_serv.platform.sealing import unsealed
from kneo_serv.spec import CompiledAgentPackage, SpecCompiler

_KEPT = 128
_SECONDS = 5.0
"""How long one is kept. Changed files and tools are noticed at once, whatever else a compiler looks at after this."""

type Layers = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Source:
    """A spec as a caller names it, with everything that is laid over it; either `spec_path` or `spec`."""

    spec_path: str | Path | None = None
    spec: Mapping[str, Any] | None = None
    environment: str | None = None
    overlays: Layers | None = None
    overrides: Mapping[str, Any] | None = None
    skills_overlay: Mapping[str, Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What is laid over the spec, as the compiler takes it and as a run remembers it."""
        return {
            "environment": self.environment,
            "overlays": None if self.overlays is None else [str(path) for path in self.overlays],
            "overrides": None if self.overrides is None else dict(self.overrides),
            "skills_overlay": self.skills_overlay,
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A compiled spec, and the texts that it was made of."""

    package: CompiledAgentPackage
    frozen: Mapping[str, Any]


class PreparedSpecs:
    """Compiles specs. Safe to use from any thread."""

    def __init__(self, compiler: Callable[[], SpecCompiler], *, clock: Clock) -> None:
        self._compiler = compiler
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Prepared]] = OrderedDict()

    def prepare(self, source: Source, *, signing_key: str | None, bundles_only: bool) -> Prepared:
        """The compiled spec; of one that was compiled just now and has not changed since, the same again.

        Raises:
            SpecCompilationError, SpecParseError, FileNotFoundError: as `SpecCompiler.compile`.
            SpecBundleError: as `unsealed`.
        """
        compiler = self._compiler()
        name = _name_of(source, compiler, signing_key, bundles_only)
        kept = self._at_hand(name)
        if kept is not None:
            return kept
        made = _prepared(source, compiler, signing_key, bundles_only)
        # Skills lie in folders of files, at which only the compiler looks.
        if name is not None and not made.package.spec.skills:
            with self._lock:
                self._kept[name] = self._clock.monotonic() + _SECONDS, made
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return made

    def is_at_hand(self, source: Source, *, signing_key: str | None, bundles_only: bool) -> bool:
        """Whether `prepare` has nothing to compile; takes no time."""
        return self._at_hand(_name_of(source, self._compiler(), signing_key, bundles_only)) is not None

    def _at_hand(self, name: str | None) -> Prepared | None:
        if name is None:
            return None
        with self._lock:
            kept = self._kept.get(name)
        return kept[1] if kept is not None and self._clock.monotonic() < kept[0] else None


def _prepared(source: Source, compiler: SpecCompiler, signing_key: str | None, bundles_only: bool) -> Prepared:
    inner = unsealed(
        source.spec,
        source.spec_path,
        key=signing_key,
        required=bundles_only,
        layered=bool(source.overlays or source.overrides),
    )
    path = None if inner is not None or source.spec_path is None else str(source.spec_path)
    spec = inner if inner is not None else source.spec
    options = source.options
    if path is not None:
        package = compiler.compile(path, **options)
    else:
        package = compiler.compile_dict(dict(spec or {}), **options)
    frozen = compiler.freeze_inputs(spec_path=path, spec=spec, overlays=source.overlays, overrides=source.overrides)
    return Prepared(package, frozen)


def _name_of(source: Source, compiler: SpecCompiler, signing_key: str | None, bundles_only: bool) -> str | None:
    """A text that is the same for the same spec only; None where there is no such text."""
    files = [path for path in (source.spec_path, *(source.overlays or ())) if path is not None]
    registry = compiler.tool_registry
    try:
        marks = [_mark(path) for path in files]
        parts = [source.spec, source.options, bundles_only, signing_key, id(registry), getattr(registry, "changes", 0)]
        return json.dumps([marks, *parts], sort_keys=True)
    except (OSError, TypeError, ValueError):
        # The compiler says what is wrong with it.
        return None


def _mark(path: str | Path) -> list[Any]:
    found = os.stat(path)
    where = None if os.path.isabs(path) else os.getcwd()
    return [str(path), where, found.st_mtime_ns, found.st_size, found.st_ino]
