"""Gridracer beside Grid2Op: the same grid and days in both, and the agents of one in the other.

Grid2Op and lightsim2grid are imported by the modules that need them: `make install-grid2op`.
"""
