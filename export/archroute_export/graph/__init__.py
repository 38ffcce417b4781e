"""The ONNX graph of a decoder-only language model, built node by node from a checkpoint."""
