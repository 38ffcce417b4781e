"""Running the graph: the only room that imports ONNX Runtime."""
