"""Pure code, tested without any server: opening a socket in here fails the test."""
