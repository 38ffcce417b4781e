"""Building a provider's engines ahead of serving: the command `archroute build-engines`."""
