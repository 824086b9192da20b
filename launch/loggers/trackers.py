"""Experiment trackers behind one interface: begin or go on with a run, send rows, end it."""

import dataclasses
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from configs.experiment import Experiment
from launch.loggers import follow
from launch.run import run_folder

_OFFLINE = "offline"
_BATCH = 1000  # metrics that MLflow takes at once
_PARAMETERS, _LONGEST = 100, 500  # that MLflow takes at once; characters of one
_STRANGE = re.compile(r"[^\w\-. :/]")  # what names of MLflow's metrics may not have


class Tracker(Protocol):
    """A run in an experiment tracker; what it is called there is `id`."""

    id: str

    def send(self, rows: Sequence[follow.Row]) -> None:
        """Sends rows; raises whatever the tracker raises."""

    def end(self, outcome: str) -> None:
        """Ends the run: "finished", "interrupted" or "failed"."""


class Wandb:
    """A run in Weights & Biases: its project is the experiment, its name the folder's."""

    def __init__(self, folder: run_folder.RunFolder, experiment: Experiment, known: str | None):
        """Begins a run, or goes on with the one `known` by its id."""
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", experiment.name), name=folder.path.name,
            id=known, resume="allow" if known else None, dir=str(folder.path),
            mode=os.environ.get("WANDB_MODE", _OFFLINE), config=dataclasses.asdict(experiment),
            settings=wandb.Settings(console="off"),
        )  # fmt: skip
        self.id = self._run.id
        # Nodes have steps of their own, which come in any order.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def send(self, rows: Sequence[follow.Row]) -> None:
        """Sends rows."""
        for row in rows:
            named = {f"{row.node}/{name}": value for name, value in row.scalars.items()}
            self._run.log({"step": row.step, **named})

    def end(self, outcome: str) -> None:
        """Ends the run."""
        self._run.finish(exit_code=int(outcome == "failed"))


class MLflow:
    """A run in MLflow: its experiment is the experiment, its name the folder's."""

    def __init__(self, folder: run_folder.RunFolder, experiment: Experiment, known: str | None):
        """Begins a run, or goes on with the one `known` by its id."""
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        where, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not where:
            where = f"sqlite:///{folder.path / 'mlflow.db'}"
            artifacts = (folder.path / "mlartifacts").as_uri()
        self._client = MlflowClient(tracking_uri=where)
        if known:
            self.id = known
            self._client.update_run(known, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", experiment.name)
        there = self._client.get_experiment_by_name(name)
        parent = there.experiment_id if there else self._client.create_experiment(name, artifacts)
        self.id = self._client.create_run(parent, run_name=folder.path.name).info.run_id
        params = [Param(*field) for field in _fields(dataclasses.asdict(experiment))]
        for first in range(0, len(params), _PARAMETERS):
            self._client.log_batch(self.id, params=params[first : first + _PARAMETERS])

    def send(self, rows: Sequence[follow.Row]) -> None:
        """Sends rows."""
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [
            Metric(_STRANGE.sub("_", f"{row.node}/{name}"), value, now, row.step)
            for row in rows for name, value in row.scalars.items()
        ]  # fmt: skip
        for first in range(0, len(metrics), _BATCH):
            self._client.log_batch(self.id, metrics=metrics[first : first + _BATCH])

    def end(self, outcome: str) -> None:
        """Ends the run."""
        status = {"finished": "FINISHED", "interrupted": "KILLED"}.get(outcome, "FAILED")
        self._client.set_terminated(self.id, status)


KINDS: dict[str, type] = {"wandb": Wandb, "mlflow": MLflow}


def _fields(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields path and text of every field."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            yield f"{prefix}{name}", text[:_LONGEST] or "none"
