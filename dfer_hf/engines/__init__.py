"""What answers batches of face crops."""

from .torch_engine import ClipAnswers, TorchEngine

__all__ = ["ClipAnswers", "TorchEngine"]
