"""Predictions of systems, and how good they are."""
