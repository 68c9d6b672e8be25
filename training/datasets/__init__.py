"""One file for each dataset, which reads its official files, its labels by name and its splits."""
