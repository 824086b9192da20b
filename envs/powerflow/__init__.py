"""Steady-state AC network equations and their solution."""
