"""Grid2Op's elements, observations and actions beside Gridracer's, and its agents as controllers.

Grid2Op and lightsim2grid are imported by the functions that need them: `make install-grid2op`.
"""
