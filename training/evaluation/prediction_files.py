"""Write and read predictions as CSV or parquet files, both of which keep every bit of a float."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from training.evaluation.predict import Predictions, PredictionsError

SUFFIXES = (".csv", ".parquet")
LOGIT, COARSE_LOGIT, FEATURE = "logit", "coarse_logit", "feature"


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write a CSV or parquet file with a row for each clip.

    Columns: `name`, `person` where it is known, `label`, `predicted`, `logit/<group>/<class>` for each class,
    `coarse_logit/<group>` for each group, and `feature/<index>` where there are features. A slash in a name is written
    `%2F` there, and a per cent sign `%25`.

    Raises:
        PredictionsError: If the suffix is another.
        ImportError: If it is parquet and pyarrow is not installed.
    """
    columns = _columns(predictions)
    if _suffix_of(path) == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*(map(str, values) for values in columns.values()), strict=True))
        return
    pyarrow, parquet = _import_pyarrow()
    parquet.write_table(pyarrow.table(columns), path)


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        PredictionsError: If it is not such a file.
        ImportError: If it is parquet and pyarrow is not installed.
    """
    suffix = _suffix_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected predictions at {path}, found none. Run python -m training.evaluate.")
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        uneven = [number for number, row in enumerate(rows, start=2) if len(row) != len(header)]
        if uneven:
            raise PredictionsError(
                f"Expected {len(header)} fields in every line of {path}, but line {uneven[0]} has others. "
                "The file was cut off or edited; write it again with python -m training.evaluate."
            )
        columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    else:
        pyarrow, parquet = _import_pyarrow()
        try:
            table = parquet.read_table(path)
        except pyarrow.ArrowInvalid as error:
            raise PredictionsError(f"Expected a parquet file at {path}: {error}.") from error
        columns = {name: table[name].to_numpy() for name in table.column_names}
    return _of_columns(columns, path)


def _columns(predictions: Predictions) -> dict[str, Sequence | np.ndarray]:
    group_names = predictions.group_names
    columns: dict[str, Sequence | np.ndarray] = {"name": predictions.names}
    if predictions.persons is not None:
        columns["person"] = predictions.persons
    columns["label"] = [predictions.label_names[index] for index in predictions.labels]
    columns["predicted"] = [predictions.label_names[index] for index in predictions.predicted]
    for index, name in enumerate(predictions.label_names):
        group = group_names[predictions.group_of[index]]
        columns[f"{LOGIT}/{_escaped(group)}/{_escaped(name)}"] = predictions.logits[:, index]
    for index, name in enumerate(group_names):
        columns[f"{COARSE_LOGIT}/{_escaped(name)}"] = predictions.coarse_logits[:, index]
    if predictions.features is not None:
        columns |= {f"{FEATURE}/{index}": column for index, column in enumerate(predictions.features.T)}
    return columns


def _escaped(name: str) -> str:
    """A name without a slash, which separates it from others in a column's name."""
    return name.replace("%", "%25").replace("/", "%2F")


def _parts_of(column: str) -> list[str]:
    """What stands behind the first slash of a column's name, by its slashes."""
    return [part.replace("%2F", "/").replace("%25", "%") for part in column.split("/")[1:]]


def _of_columns(columns: Mapping[str, Sequence | np.ndarray], path: Path) -> Predictions:
    parts = {
        prefix: [name for name in columns if name.startswith(f"{prefix}/")]
        for prefix in (LOGIT, COARSE_LOGIT, FEATURE)
    }
    places = [_parts_of(name) for name in parts[LOGIT]]
    label_names = tuple(place[-1] for place in places)
    groups = {
        group: tuple(place[1] for place in places if place[0] == group)
        for group in ("/".join(_parts_of(name)) for name in parts[COARSE_LOGIT])
    }
    well_named = all(len(place) == 2 and place[0] in groups for place in places)
    if not {"name", "label"} <= set(columns) or not places or not groups or not well_named:
        raise PredictionsError(
            f"Expected the columns name, label, {LOGIT}/<group>/<class> and {COARSE_LOGIT}/<group> in {path}, "
            f"got {', '.join(list(columns)[:12]) or 'none'}. Give a file that training/evaluate.py wrote."
        )
    labels = [str(name) for name in columns["label"]]
    unknown = sorted(set(labels) - set(label_names))
    if unknown:
        raise PredictionsError(f"Expected labels of {path} among {', '.join(label_names)}, got {', '.join(unknown)}.")

    def stack(prefix: str) -> np.ndarray:
        try:
            chosen = [np.asarray(columns[name], dtype=np.float32) for name in parts[prefix]]
        except ValueError as error:
            raise PredictionsError(f"Expected numbers in the columns {prefix}/… of {path}: {error}.") from error
        return np.ascontiguousarray(np.stack(chosen, axis=1))

    logits = stack(LOGIT)
    most_probable = [label_names[index] for index in logits.argmax(axis=1)]
    return Predictions(
        names=tuple(map(str, columns["name"])),
        labels=np.array([label_names.index(name) for name in labels], dtype=np.int64),
        logits=logits,
        coarse_logits=stack(COARSE_LOGIT),
        label_names=label_names,
        groups=groups,
        persons=tuple(map(str, columns["person"])) if "person" in columns else None,
        features=stack(FEATURE) if parts[FEATURE] else None,
        # If the answers are the same by both rules, either may be recorded.
        coarse_first=[str(name) for name in columns.get("predicted", most_probable)] != most_probable,
    )


def _suffix_of(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise PredictionsError(
            f"Expected a file of predictions that ends in {' or '.join(SUFFIXES)}, got {path.name!r}."
        )
    return path.suffix


def _import_pyarrow():
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Expected pyarrow for a parquet file, but it is not installed. "
            "Run `pip install pyarrow`, or write .csv, which holds the same."
        ) from error
    return pyarrow, parquet
