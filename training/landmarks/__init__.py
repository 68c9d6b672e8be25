"""The landmark head of the key-points GCN: how it is taught and measured."""
