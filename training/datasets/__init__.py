"""One file per corpus: its official files, its labels by name, its splits."""
