"""Checkpoints of any shape with random weights, and a tokenizer for them: nothing is downloaded."""
