"""The checkpoints that ship: how they are packed and measured."""
