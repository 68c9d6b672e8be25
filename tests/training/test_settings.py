import dataclasses

import pytest

from training.arguments import read_command_line
from training.config import change_settings, load_config
from training.papers import table_rows, tables

RECIPE = """
system = "frame_resnet"
data = "folder"
stages = [[32, 2, 1.0]]
batch_size = 4
learning_rate = 0.01
[schedule]
warmup_epochs = 1
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_settings_change_the_recipe_and_nothing_else(recipe):
    settings = [
        "learning_rate=1e-4",
        "model.depths=[1,1,1]",
        "optimiser = adamw",
        "schedule.kind=step",
        "compile=true",
    ]
    changed, before = load_config(recipe, settings), load_config(recipe)
    assert changed == dataclasses.replace(
        before,
        learning_rate=1e-4,
        model={"depths": [1, 1, 1]},
        optimiser="adamw",
        schedule=dataclasses.replace(before.schedule, kind="step"),
        compile=True,
    )
    assert changed.schedule.warmup_epochs == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("learning_rat=1e-4", r"recipe.toml with learning_rat=1e-4 has unknown keys \['learning_rat'\]; known are"),
        ("schedule.kin=step", r"unknown keys \['kin'\]"),
        ("learning_rate=fast", r"Expected float for learning_rate .*, got 'fast'"),
        ("optimiser=lion", r"Expected `optimiser` to be one of .*, got 'lion'"),
        ("learning_rate", r"a setting such as learning_rate=1e-4, got 'learning_rate'"),
        ("system.name=aen", r"a table 'system' .*, got 'frame_resnet'"),
    ],
)
def test_settings_are_checked_like_the_recipe(recipe, setting, message):
    with pytest.raises(ValueError, match=message):
        load_config(recipe, [setting])


def test_values_stay_as_they_were():
    values = {"model": {"depths": [2]}}
    assert change_settings(values, ["model.depths=[1]", "model.width=3"]) == {"model": {"depths": [1], "width": 3}}
    assert values == {"model": {"depths": [2]}}


def test_settings_change_every_row_of_a_table(monkeypatch):
    shown = []
    monkeypatch.setattr(tables, "render", lambda table, _workshop: shown.append(table) or "")
    tables.main(read_command_line("tables", ["show", "m3dfel_table2", "--set", "learning_rate=1e-4"]))
    assert all(table_rows.train_config(row).learning_rate == 1e-4 for row in shown[0].rows)
