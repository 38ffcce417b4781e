"""The archroute server: decides over gRPC which policy a conversation calls for."""
