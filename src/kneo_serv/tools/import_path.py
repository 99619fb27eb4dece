"""Python code of the user, found by its dotted import path."""

import difflib
import importlib
import importlib.util
import pkgutil
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from kneo_serv.errors import InvalidRequestError

UNSAFE_MODULES = frozenset(
    {
        "builtins", "code", "codeop", "ctypes", "fcntl", "importlib", "marshal", "mmap", "multiprocessing", "nt", "os",
        "pathlib", "pdb", "pickle", "platform", "posix", "pty", "runpy", "shutil", "signal", "socket", "subprocess",
        "sys", "tty",
    }
)  # fmt: skip
"""Top modules whose functions reach past the process; a spec must not name them."""

UNSAFE_NAMES = frozenset({"eval", "exec", "open", "compile", "__import__", "breakpoint"})
"""Built-in functions that run code or open files; a spec must not name them."""

_FOREIGN = (*(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")), str(Path(__file__).parents[1]))
"""Folders of code that is not the user's own: of Python, of installed packages, and ours."""

_SHOWN = 200
"""Characters of a foreign error text that are shown."""


def unsafe_import(path: str) -> bool:
    """Whether a spec must not name `path`: it lies in a module, or is a function, that reaches past the process."""
    head, dot, _ = path.strip().partition(".")
    return head in UNSAFE_MODULES if dot else head in UNSAFE_NAMES


def load_callable(path: str) -> Callable[..., Any]:
    """The function (or other callable) at `package.module.name`; the last dot separates module and name.

    Importing a module runs its code. A path that `unsafe_import` knows is refused before anything is imported, and so
    is a name behind which such a function was re-exported.

    Raises:
        InvalidRequestError: not such a path, unsafe, not found, or not callable; names the path and near names.
    """
    found = load_object(path)
    if not callable(found):
        raise InvalidRequestError(f"Cannot load {path!r}: it is a {type(found).__name__}, not a function.")
    return cast("Callable[..., Any]", found)


def load_object(path: str) -> Any:
    """Whatever lies at `package.module.name`: a function, or an object such as a foreign agent.

    The rules are those of `load_callable`, but that it need not be callable.

    Raises:
        InvalidRequestError: not such a path, unsafe, or not found; names the path and near names.
    """
    module_path, dot, name = path.rpartition(".")
    if unsafe_import(path):
        raise InvalidRequestError(_unsafe(path))
    if not dot or not all(part.isidentifier() for part in path.split(".")):
        mend = f" Write {path.replace(':', '.')!r}." if path.count(":") == 1 else " Write package.module.function."
        raise InvalidRequestError(f"{path!r} is no dotted import path.{mend}")
    module = _module(module_path, path)
    try:
        found = getattr(module, name)
    except AttributeError:
        raise InvalidRequestError(
            f"Cannot load {path!r}: module {module_path!r} has no {name!r}.{_near(name, _callables(module))}"
        ) from None
    if _is_unsafe_itself(found):
        raise InvalidRequestError(_unsafe(path))
    return found


def _unsafe(path: str) -> str:
    return (
        f"{path!r} may not be called from a spec: it reaches the operating system or the interpreter. "
        "Wrap what you need of it in a function of your own and name that."
    )


def _is_unsafe_itself(found: Any) -> bool:
    """Whether a harmless path leads to a refused function, as `asyncio.subprocess.X` style re-exports do."""
    module = getattr(found, "__module__", None)
    name = getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if module == "builtins":  # str or sorted under a name of one's own is harmless
        return name in UNSAFE_NAMES
    # lstrip: functions written in C call their module _io or _socket
    return module.partition(".")[0].lstrip("_") in UNSAFE_MODULES | {"io"}


def _module(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if missing == name or name.startswith(f"{missing}."):
            raise InvalidRequestError(
                f"Cannot load {path!r}: there is no module {missing!r}.{_near_modules(missing)}"
            ) from None
        raise InvalidRequestError(
            f"Cannot load {path!r}: module {name!r} imports {missing!r}, which is not installed."
        ) from error
    except BaseException as error:  # importing runs foreign code, which may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt):
            raise
        place = place_of(error)
        where = f" ({place})" if place else ""
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InvalidRequestError(
            f"Cannot load {path!r}: importing {name!r} raised {type(error).__name__}: {text[:_SHOWN]}{where}"
        ) from error


def place_of(error: BaseException) -> str | None:
    """File and line of the user's own code that raised the error, or called what did: `my_tools.py, line 3`.

    None when there is no such code in its traceback.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not frame.filename.startswith(("<", *_FOREIGN)) and frame.lineno is not None:
            return f"{Path(frame.filename).name}, line {frame.lineno}"
    return None


def _near_modules(missing: str) -> str:
    parent, dot, last = missing.rpartition(".")
    if not dot:
        return " Is its folder on the import path (PYTHONPATH), or its package installed?"
    package = importlib.import_module(parent)  # found before, since the missing part lies inside it
    if hasattr(package, last):
        return f" {parent!r} has a {last!r}, but only names at the top level of a module can be used."
    return _near(last, [info.name for info in pkgutil.iter_modules(getattr(package, "__path__", []))])


def _callables(module: ModuleType) -> list[str]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return [name for name in names if callable(getattr(module, name, None))]


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(each) for each in near)}?" if near else ""
