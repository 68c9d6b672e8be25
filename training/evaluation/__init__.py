"""What a system said, and how good it is."""
