"""What the papers printed: ablation tables, and every published row."""
