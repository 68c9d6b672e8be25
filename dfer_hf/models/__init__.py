"""The systems: flat, one `configuration_` and one `modeling_` file each, and the siblings they share."""
