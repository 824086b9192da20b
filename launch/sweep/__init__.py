"""Sweeps: what is varied, how it is searched, how trials are trained, and what is reported."""
