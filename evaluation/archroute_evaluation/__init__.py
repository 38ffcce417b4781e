"""Measures how well a router decides, and calibrates how sure it says it is."""
