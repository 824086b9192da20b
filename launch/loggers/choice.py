"""Which experiment trackers there are, and whether what they need is installed."""

import importlib.util
from collections.abc import Sequence

from envs.inputs import choices

# By name: the modules that are imported, and the packages that bring them.
TRACKERS = {
    "wandb": {"wandb": "wandb"},
    # The other two are of its store of runs in a file, or in a database.
    "mlflow": {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy", "alembic": "alembic"},
}
HELP = (
    "Experiment trackers that are sent every metric as well: wandb (offline unless WANDB_MODE says "
    "otherwise), mlflow (into the run folder unless MLFLOW_TRACKING_URI says otherwise), or both."
)


def check(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the trackers of `names`, each once.

    Raises:
      ValueError: there is no such tracker, or it is not installed; the message says what to do.
    """
    for name in names:
        choices.require("--loggers", name, TRACKERS)
        absent = [m for m in TRACKERS[name] if importlib.util.find_spec(m) is None]
        if absent:
            packages = " ".join(TRACKERS[name].values())
            raise ValueError(
                f"--loggers={name}: {absent[0]} is not installed; install it with pip install -c "
                f'constraints.txt {packages} (BUILD.md, "More packages"), or leave {name} out'
            )
    return tuple(dict.fromkeys(names))
