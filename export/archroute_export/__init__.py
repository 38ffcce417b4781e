"""The exporter: a checkpoint becomes a bundle that the server loads."""
