"""Where the datasets are that benches use."""

from dataclasses import dataclass
from pathlib import Path


class DataMissingError(FileNotFoundError):
    """A dataset that a bench needs is not there."""


@dataclass(frozen=True)
class Room:
    """A folder that holds the datasets, each in a folder of its own: `ferplus`, `muxspace` and `london`."""

    data_root: Path

    def folder(self, name: str) -> Path:
        """Folder of a dataset.

        Raises:
            DataMissingError: If it is not there.
        """
        folder = self.data_root / name
        if not folder.is_dir():
            raise DataMissingError(f"Expected the dataset {name} in {self.data_root}, but there is no such folder.")
        return folder
