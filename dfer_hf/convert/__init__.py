"""Weights of published repositories as checkpoints of this package."""
