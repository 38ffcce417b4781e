"""The policy sets that a server holds: from files that are watched, and from a store that callers change."""
