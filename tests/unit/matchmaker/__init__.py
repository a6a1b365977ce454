"""Tests of app.matchmaker."""
