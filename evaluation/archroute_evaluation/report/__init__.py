"""Shows an evaluation: on the terminal, as JSON, as an HTML page, and its errors as a file."""
