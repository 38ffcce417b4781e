"""Fine-tuning: a low-rank adapter that teaches a checkpoint to route."""
