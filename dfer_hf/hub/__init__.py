"""Checkpoints as folders of the Hub."""
