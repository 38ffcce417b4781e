"""The phases of `bench/gpu.py`, each of which runs in a process of its own."""
