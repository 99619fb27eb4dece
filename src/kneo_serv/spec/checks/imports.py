"""Import paths: dotted, and not into the machine room of Python. Nothing is imported here."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, error
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import Path

_UNSAFE_MODULES = frozenset(
    [
        "builtins",
        "code",
        "codeop",
        "ctypes",
        "fcntl",
        "importlib",
        "marshal",
        "mmap",
        "multiprocessing",
        "nt",
        "os",
        "pathlib",
        "pdb",
        "pickle",
        "platform",
        "posix",
        "pty",
        "runpy",
        "shutil",
        "signal",
        "socket",
        "subprocess",
        "sys",
        "tty",
    ]
)
_UNSAFE_NAMES = frozenset({"eval", "exec", "open", "compile", "__import__", "breakpoint"})


def check_imports(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of the import paths of functions and tools."""
    for name, tool in spec.tools.items():
        if tool.implementation is not None:
            yield from _path(
                "E_UNSAFE_TOOL_IMPORT", "E_TOOL_IMPLEMENTATION", ("tools", name, "implementation"), tool.implementation
            )
    for name, function in spec.components.functions.items():
        place = ("components", "functions", name, "implementation")
        yield from _path("E_UNSAFE_FUNCTION_IMPORT", "E_FUNCTION_IMPLEMENTATION", place, function.implementation)


def _path(unsafe: str, malformed: str, place: Path, implementation: str) -> Iterator[Finding]:
    first, *rest = implementation.split(".")
    if implementation in _UNSAFE_NAMES or (rest and first in _UNSAFE_MODULES):
        message = f"`{implementation}` reaches into Python or the machine itself and may not be called."
        hint = "Wrap what you need in a function of your own package."
        yield error(unsafe, place, message, hint)
    elif not rest or not all(part.isidentifier() for part in (first, *rest)):
        message = f"`{implementation}` is no dotted path of a module and an attribute."
        hint = "Write it as `package.module.attribute`."
        if ":" in implementation:
            hint = f"Write dots only: `{implementation.replace(':', '.')}`."
        yield error(malformed, place, message, hint)
