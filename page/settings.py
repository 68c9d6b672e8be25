"""What whoever runs the page may set, by variables of the environment."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dfer_hf.video import VideoLimits


class SettingError(ValueError):
    """A variable of the environment makes no sense."""


def _setting(variable: str, default: float, says: str) -> Any:
    return field(default=default, metadata={"variable": variable, "says": says})


@dataclass(frozen=True)
class Settings:
    """What whoever runs the page may set; the fields say by which variables, and what they are."""

    max_seconds: float = _setting("DFER_MAX_SECONDS", 120.0, "seconds that a video may last")
    max_megabytes: float = _setting("DFER_MAX_MEGABYTES", 100.0, "megabytes that a file may have")
    analyses_at_once: int = _setting("DFER_ANALYSES_AT_ONCE", 1, "files that are analysed at the same time")
    max_waiting: int = _setting("DFER_MAX_WAITING", 32, "visitors who may wait for their turn")
    max_cameras: int = _setting("DFER_MAX_CAMERAS", 1, "cameras that are watched at the same time; 0 for none")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables; those that are not set or empty have their defaults.

        Raises:
            SettingError: If one of them is no number, or too small.
        """
        values = {}
        for entry in fields(cls):
            variable = entry.metadata["variable"]
            if environment.get(variable):
                values[entry.name] = _read(variable, environment[variable], entry.default)
        return cls(**values)

    @property
    def limits(self) -> VideoLimits:
        """What to refuse."""
        return VideoLimits(max_seconds=self.max_seconds, max_bytes=int(self.max_megabytes * 1e6))


def _read(variable: str, text: str, default: Any) -> float | int:
    is_whole = isinstance(default, int)
    least = 0 if variable == "DFER_MAX_CAMERAS" else 1
    try:
        value = int(text) if is_whole else float(text)
    except ValueError:
        value = math.nan
    fits = least <= value <= 10_000 if is_whole else 0 < value < math.inf
    if not fits:
        expected = f"a whole number from {least} to 10000" if is_whole else "a number above 0"
        raise SettingError(f"{variable}: expected {expected}, got {text!r}. Correct it, or leave it out.")
    return value


def settings_table() -> list[str]:
    """Lines of the table in docs/how-to/serve.md."""
    rows = [(entry.metadata["variable"], f"{entry.default:g}", entry.metadata["says"]) for entry in fields(Settings)]
    head = ["| variable | default | what it is |", "|---|---|---|"]
    return head + [f"| `{variable}` | {default} | {says} |" for variable, default, says in rows]
