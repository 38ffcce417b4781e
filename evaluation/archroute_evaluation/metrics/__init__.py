"""Pure functions from what a router answered to figures."""
