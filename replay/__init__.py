"""The unroll, the queue it travels on, and who watches those at either end."""
