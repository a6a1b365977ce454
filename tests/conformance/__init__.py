"""What others recorded or specified, held against this project's own code."""
