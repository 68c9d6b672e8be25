"""The papers' ablation tables and figures, and every published result."""
