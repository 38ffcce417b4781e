"""SmoothQuant: moving what is hard to quantize from the activations into the weights."""
