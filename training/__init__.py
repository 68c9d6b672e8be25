"""Training and measuring, as the papers do it."""
