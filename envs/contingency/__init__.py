"""Outages of one branch: distribution factors, and screening of what they would overload."""
