"""The flags of `launch.evaluate` without a command line."""

import types


def flags(**changes):
    """The flags' defaults but of three days, but for `changes`."""
    usual = dict(
        controllers=None, scenarios=["normal"], level=["easy"], episodes=3, split="test", seed=0,
        bound=True, case=None, fleet=None, layout=None, env=[], team=None, checkpoint=None,
        out=None, shield=False, ablations=None, config=None,
    )  # fmt: skip
    return types.SimpleNamespace(**{**usual, **changes})
