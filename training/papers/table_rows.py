"""The tables of the papers, read from TOML: recipes, how rows differ from them, and the printed figures."""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dfer_hf
from dfer_hf.models.configuration_dfer import DferConfig
from training.config import TrainConfig, build_config, load_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES, TABLES = Path(__file__).parents[1] / "recipes", Path(__file__).parent / "ablations"
COLUMNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "uar": ("UAR", ("fine", "uar")),
    "war": ("WAR", ("fine", "war")),
    # For CFC-SP alone, whose answer is its hard choice.
    "f1": ("F1", ("cascade", "macro_f1")),
    # For the nets by themselves, before the cascade joins them.
    "f1_of_groups": ("F1, coarse", ("coarse", "macro_f1")),
    "f1_within_groups": ("F1, negative", ("within_groups", "macro_f1")),
    "war_of_groups": ("WAR of groups", ("coarse_of_fine", "war")),
    # Counted from the configuration.
    "multiply_adds": ("G multiply-adds", ()),
    "parameters": ("M parameters", ()),
    # From the log of the first fold.
    "hours": ("hours of training", ()),
    # Measured on the authors' machine alone.
    "clips_per_second": ("clips a second", ()),
}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        name: The paper's name for it.
        paper: The paper's figures by column; empty where the paper only draws them.
        recipe: The row's recipe, where it is not the table's.
        overrides: Settings in which the row differs from its recipe.
        decision: Fields of the configuration that change answers alone; they are set in the trained checkpoint.
        nets: `coarse` and `fine` nets of CFC-SP, which are trained apart and put together.
        start_row: Row whose run on its first fold the weights start from, counted from 1.
        folds: Where they are not the table's.
        scenes: Scenes of FERV39k whose clips are measured; all where none are named.
        ours: Whether this package has the system and the data; other rows show the paper's figures alone.
        note: What to know when the two are compared.
    """

    name: str
    paper: dict[str, float] = field(default_factory=dict)
    recipe: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    nets: dict[str, list[str]] = field(default_factory=dict)
    start_row: int = 0
    folds: tuple[int, ...] | None = None
    scenes: tuple[str, ...] = ()
    ours: bool = True
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a paper.

    Args:
        title: Paper, number and subject.
        recipe: Recipe of all rows that name no other.
        columns: Of `COLUMNS`.
        rows: In the paper's order.
        folds: Folds over which the paper averages; none where the dataset has one division.
        note: What holds for all rows.
    """

    title: str
    recipe: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    folds: tuple[int, ...] = ()
    note: str = ""


def load_table(name: str) -> Table:
    """Read a table by name.

    Raises:
        ValueError: If there is no such table, or it has unknown keys.
    """
    path = TABLES / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"Unknown table {name!r}; expected one of {', '.join(table_names())}.")
    table = build_config(Table, tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    unknown = sorted({*table.columns, *(name for row in table.rows for name in row.paper)} - set(COLUMNS))
    if unknown:
        raise ValueError(f"{path.name} has unknown columns {unknown}; known are {sorted(COLUMNS)}.")
    rows = (
        dataclasses.replace(
            row, recipe=row.recipe or table.recipe, folds=table.folds if row.folds is None else row.folds
        )
        for row in table.rows
    )
    return dataclasses.replace(table, rows=tuple(rows))


def table_names() -> list[str]:
    """List the names of all tables."""
    return sorted(path.stem for path in TABLES.glob("*.toml"))


def train_config(row: Row) -> TrainConfig:
    """Return the recipe of a row with the row's changes; for CFC-SP's nets, the settings they share.

    Raises:
        ValueError: If recipes have no such key.
    """
    values = dataclasses.asdict(load_config(RECIPES / f"{row.recipe}.toml"))
    for name, value in row.overrides.items():
        is_added = isinstance(values.get(name), dict) and name != "classes"
        values[name] = values[name] | value if is_added else value
    return build_config(TrainConfig, values, f"row {row.name!r}")


def model_config(row: Row) -> DferConfig:
    """Return the configuration of the system that a row measures, with the system's own classes.

    Raises:
        ValueError: If the system has no such field, or refuses its value.
    """
    config = train_config(row)
    config_class = dfer_hf.systems()[config.system].config_class
    # The classes of the whole are the system's own, whatever its nets tell apart.
    classes = {} if row.nets or not config.classes else {"id2label": dict(enumerate(config.classes))}
    fields = classes | config.model | row.decision | {f"{role}_nets": nets for role, nets in row.nets.items()}
    known = {entry.name for entry in dataclasses.fields(config_class)}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise ValueError(f"Row {row.name!r}: {config.system} has no fields {unknown}; known are {sorted(known)}.")
    return config_class.from_preset(config.preset, **fields)
