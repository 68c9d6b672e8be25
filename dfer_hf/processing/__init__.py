"""From face crops to model input."""
