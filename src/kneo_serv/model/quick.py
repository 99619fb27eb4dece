"""Frozen dataclasses that are made as quickly as plain ones.

The constructor of a frozen dataclass passes every field through `object.__setattr__`, which costs ten times what a
plain assignment costs; `dataclasses.replace` adds a loop over all fields. A run makes hundreds of such values. So the
hot ones are frozen to the type checker, which sees all of this code, and plain at run time.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(value, /, **changes):
        """What `dataclasses.replace` gives."""
        copy = getattr(type(value), "__replace__", None)
        return dataclasses.replace(value, **changes) if copy is None else copy(value, **changes)


def quick[T](target: type[T]) -> type[T]:
    """The same class with a quick constructor and a quick way to `replace`; to be put above a frozen dataclass.

    The fields must all be arguments of the constructor, and nothing may follow it (`__post_init__`).

    Raises:
        TypeError: the class is no frozen dataclass with slots, or does something in its constructor.
    """
    made: Any = target
    fields = dataclasses.fields(made)
    if not made.__dataclass_params__.frozen or "__slots__" not in target.__dict__:
        raise TypeError(f"{target.__name__} is no frozen dataclass with slots")
    if hasattr(target, "__post_init__") or not all(field.init and not field.kw_only for field in fields):
        raise TypeError(f"the constructor of {target.__name__} does more than to set its fields")
    annotations = made.__init__.__annotations__
    names = [field.name for field in fields]
    given: dict[str, Any] = {"_new": object.__new__, "_unset": dataclasses.MISSING}
    arguments, settings = [], []
    for name, field in zip(names, fields, strict=True):
        if field.default_factory is not dataclasses.MISSING:
            given[f"_make_{name}"] = field.default_factory
            arguments.append(f"{name}=_unset")
            settings.append(f"    self.{name} = _make_{name}() if {name} is _unset else {name}")
            continue
        given[f"_default_{name}"] = field.default
        arguments.append(name if field.default is dataclasses.MISSING else f"{name}=_default_{name}")
        settings.append(f"    self.{name} = {name}")
    lines = [
        f"def __init__(self, {', '.join(arguments)}):",
        *settings,
        "def __replace__(self, /, **changes):",
        "    copy = _new(self.__class__)",
        *(f"    copy.{name} = self.{name}" for name in names),
        "    for name, item in changes.items():",
        "        setattr(copy, name, item)",
        "    return copy",
    ]
    # The text holds names of fields only, which are identifiers. It is how the standard library makes its own.
    exec("\n".join(lines), given)  # noqa: S102
    for method in ("__init__", "__replace__"):
        given[method].__qualname__ = f"{target.__qualname__}.{method}"
        given[method].__module__ = target.__module__
        setattr(target, method, given[method])
    given["__init__"].__annotations__ = annotations
    for guard in ("__setattr__", "__delattr__"):
        delattr(target, guard)
    return target
