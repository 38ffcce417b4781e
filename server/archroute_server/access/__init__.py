"""Who may call what, and how often: scopes, tokens, limits of callers, certificates. Knows no gRPC."""
