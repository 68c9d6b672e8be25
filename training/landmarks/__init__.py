"""Training and evaluation of the key-points GCN's landmark head."""
