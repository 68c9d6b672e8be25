"""Answer folders of videos by several processes or machines: one flat row per face, or one per file with an error."""

from .batch_predictor import BatchPredictor
from .rows import column_types

__all__ = ["BatchPredictor", "column_types"]
