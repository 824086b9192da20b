"""The page of metrics has every name that training logs, and no other."""

import dataclasses
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
from support import local_queue
from support.documentation import ROOT

from actors import actor, unroll as unroll_lib
from agents import bundle as bundle_lib, networks as networks_lib, team as team_lib
from agents.options import TeamOptions
from configs import registry
from envs.step import rewards
from evaluation import metrics, validation
from learner import analytic, checkpoint, learner as learner_lib, variables as variables_lib

LIMITED = "reactive_violation"


class _Monitor:
    """Keeps what a loop reports, and ends it after the first time."""

    def __init__(self):
        self.rows = []

    def progress(self, doing, limited=True):
        pass

    def report(self, figures):
        self.rows.append(figures)

    def stopping(self):
        return bool(self.rows)


class _Untaken:
    """An update that is traced for the names of its metrics, and neither compiled nor made."""

    def __init__(self, update):
        self._update = update

    def lower(self, state, spec):
        _, self._metrics = jax.eval_shape(self._update, state, spec)
        return self

    def compile(self):
        return self

    def __call__(self, state, unroll):
        return state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), self._metrics)


def _of_learner(folder, env):
    options = dataclasses.replace(
        registry.load("case14").learner, objective="both", final_entropy_cost=0.5,
        limits=f"{LIMITED}=50",
    )  # fmt: skip
    sees, moves = np.arange(env.layout.observation_size), np.arange(env.layout.action_size)
    agents = (
        team_lib.Agent("NAME", sees, moves[:1], 5.0),
        team_lib.Agent("other", sees, np.append(moves[1:], moves.size), 5.0),
    )
    safety = team_lib.Safety(moves[-1:] + 1, ("NAME",))
    team = team_lib.Team(agents, sees.size, moves.size, latents=1, safety=safety)
    layers = TeamOptions(policy_layers=(16,), value_layers=(16,))
    networks = networks_lib.TeamNetworks(team, layers, costs=1)
    unroller = unroll_lib.Unroller(env, networks, 8, 4, options.window, limited=(LIMITED,))
    spec = unroller.spec()
    service = learner_lib.Learner(env, networks, options, spec, 1000, 0)
    service._update = _Untaken(service._update)
    queue, monitor = local_queue.LocalQueue(2), _Monitor()
    for index in range(2):
        item = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), spec)
        item.summary["episodes"] += 1.0
        queue.write(item.replace(origin=item.origin.replace(index=index)), lambda: False)
    service.run(
        queue, variables_lib.Variables(variables_lib.VariableServer(), networks),
        checkpoint.Checkpoints(folder, "newest"), lambda step, row: monitor.report(row), monitor,
        max_lag=8, max_seconds=300.0, checkpoint_seconds=1e9,
    )  # fmt: skip
    names = {name.replace(f"limits/{LIMITED}", "limits/NAME") for name in monitor.rows[0]}
    return {name for name in names if not name.startswith("agents/other/")}


def _of_actor(networks):
    unroller = types.SimpleNamespace(
        start=lambda *seeds: (0, 0), unroll=lambda bundle, carry, days, origin: (carry, origin),
        renew_every=9, steps=1,
    )  # fmt: skip
    bundle, monitor = bundle_lib.initial(networks, jax.random.PRNGKey(0)), _Monitor()
    source = types.SimpleNamespace(newest=lambda at_least, timeout_s: bundle)
    writer = types.SimpleNamespace(write=lambda unroll, stopping: True)
    actor.run(
        unroller, source, writer, monitor, actor=0, incarnation=0, seed=0, synchronous=False
    )  # fmt: skip
    return set(monitor.rows[0])


def test_the_page_names_what_is_logged(tmp_path, env, networks, monkeypatch):
    # A window has no metrics of its own, and takes long to trace.
    nothing = jnp.float32(0.0)
    monkeypatch.setattr(analytic.AnalyticGradient, "_window", lambda *_: (nothing, nothing))
    scores = dict.fromkeys([*metrics.METRICS, "best_return"], 0.0)
    logged = _of_learner(tmp_path, env) | _of_actor(networks)
    logged |= set(validation.compared(scores, {"return": 0.0}))
    terms = {f"terms/{name}" for name in rewards.TERM_UNITS}  # described where rewards are
    assert terms <= logged
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(.+?)`", row)]
    assert sorted(named) == sorted(logged - terms)
