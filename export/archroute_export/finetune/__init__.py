"""Fine-tuning: labelled requests become routing examples, and those become an adapter of a checkpoint."""
