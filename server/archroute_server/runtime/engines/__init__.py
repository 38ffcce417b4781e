"""Engines: what TensorRT makes of a graph, ahead of serving."""
