"""Faces rendered from a model of the head: clips whose every frame is known exactly."""
