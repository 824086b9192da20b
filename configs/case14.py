"""IEEE 14 buses, one operator, the proportional plan: there is money to find."""

from configs.experiment import Experiment, RunOptions


def experiment() -> Experiment:
    """Returns the experiment."""
    return Experiment(name="case14", run=RunOptions(steps=1_500_000))
