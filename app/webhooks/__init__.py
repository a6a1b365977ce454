"""Notifications: events of the feed, told at least once to Discord, Slack and custom URLs by one guarded client."""
