"""The unroll and the queue it travels on."""
