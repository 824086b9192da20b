"""Sends a run's metrics to experiment trackers, from a process of its own."""
