"""How fast Gridracer is beside its peers, measured in one run: `python -m launch.bench --help`."""
