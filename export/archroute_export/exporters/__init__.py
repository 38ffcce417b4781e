"""The ways to make a graph of a checkpoint, behind one interface."""
