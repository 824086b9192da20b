"""IEEE 14 buses, one operator, the proportional plan: there is money to find."""

from agents.options import TeamOptions
from configs.experiment import Experiment, RunOptions
from envs.options import EnvOptions
from learner.options import LearnerOptions

# Days without outages: a blackout costs as much as two hundred days of operation, and one in a
# hundred days would hide from a learner what redispatch saves.
NORMAL_OPERATION = EnvOptions(
    maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
)


def experiment() -> Experiment:
    """Returns the experiment.

    A redispatch pays within the step and ramps take half an hour, so a look-ahead of 20 steps is
    enough and makes advantages far less noisy than the usual 100.
    """
    return Experiment(
        name="case14",
        env=NORMAL_OPERATION,
        team=TeamOptions(horizon=20.0, initial_std=0.3),
        learner=LearnerOptions(gae_lambda=0.9),
        run=RunOptions(steps=3_000_000),
    )
