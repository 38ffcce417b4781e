"""Puts examples to a router, in this process or behind an address."""
