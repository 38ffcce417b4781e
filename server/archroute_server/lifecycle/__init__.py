"""How the engine that decides comes, is watched, is replaced, and goes."""
