"""Notifications: the outbox, told at least once to Discord, Slack and custom URLs by one guarded client."""
