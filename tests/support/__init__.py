"""What several tests share: servers, databases, factories. No tests in here."""
