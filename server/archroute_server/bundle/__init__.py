"""The bundle: the folder on disk that the exporter writes and the server reads."""
