"""From policies and a conversation to the tokens of a prompt, and from the model's numbers to a decision.

Pure: nothing here knows gRPC, ONNX Runtime or where the weights are, so all of it runs without a model.
"""
