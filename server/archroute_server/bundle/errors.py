"""What can be wrong with a bundle."""


class BundleError(Exception):
    """A bundle that cannot be used; the message says which file, why, and what to do."""
