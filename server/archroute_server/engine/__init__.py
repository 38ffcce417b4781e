"""From a conversation to a decision: encode, schedule, run the model, settle."""
