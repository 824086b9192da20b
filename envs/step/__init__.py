"""The parts of one step of the environment, in the order of `docs/mdp.md`."""
