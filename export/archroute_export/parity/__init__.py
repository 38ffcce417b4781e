"""Parity: the exported graph against an independent reference, on fixed prompts."""
