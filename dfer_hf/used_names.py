"""Names of a package that are imported when somebody uses them, so that importing the package costs little."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def import_when_used(
    package: dict[str, Any], modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the `__getattr__` and `__dir__` of a package.

    Args:
        package: Its `globals()`, with `__all__`.
        modules: Name to the module in the package that has it.
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{modules[name]}", package["__name__"]), name)
        # Found without this function from now on.
        package[name] = value
        return value

    def list_names() -> list[str]:
        return sorted({*package, *package["__all__"]})

    return get, list_names
