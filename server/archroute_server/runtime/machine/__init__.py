"""What the machine and its container leave to the process."""
