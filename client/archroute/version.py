"""The version, as pyproject.toml has it: to look it up would take longer than to import the rest here."""

__version__ = "0.1.0"
