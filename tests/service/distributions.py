"""Tiny distributions, installed by being laid down in a folder of the import path."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def install(
    folder: Path,
    name: str,
    entries: Mapping[str, Mapping[str, str]],
    *,
    version: str = "1.0",
    **modules: str,
) -> None:
    """Lays down a distribution with its metadata, entry points (by group) and modules (name to code)."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, names in entries.items()
        for line in (f"[{group}]", *(f"{entry} = {target}" for entry, target in names.items()), "")
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (info / "RECORD").write_text("")
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(dedent(code))
