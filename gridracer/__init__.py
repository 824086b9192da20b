"""Gridracer as a library: what other programs import."""
