"""Messages and stubs of the `archroute.v1` protocol, generated from `protos/` by `make protos`."""
