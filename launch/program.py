"""The Launchpad program of a run: its nodes, who knows whom, and where each one lives."""

import functools
import os

import launchpad as lp
from launchpad.nodes.python.local_multi_processing import PythonProcess

from configs.experiment import Experiment
from launch.host import placement as placement_lib
from launch.nodes import actor, evaluator, learner, shell


def make(
    experiment: Experiment,
    placement: placement_lib.Placement,
    bind: str,
    workdir: str,
    incarnation: int,
) -> tuple[lp.Program, dict[str, PythonProcess]]:
    """Returns the program and the environment of each of its groups.

    The learner's process also holds the queue and the variable server, or each has its own
    (`run.colocate`). Data flows one way: actors know the queue and the variable server, the
    learner knows both, the evaluator knows the variable server, and nobody calls back.
    """
    program = lp.Program("gridracer")
    resources: dict[str, PythonProcess] = {}

    def settings(name: str, place: placement_lib.Place) -> shell.NodeSettings:
        return shell.NodeSettings(name, experiment, workdir, place, bind, incarnation, os.getpid())

    def add(name: str, place: placement_lib.Place, node: lp.PyNode) -> None:
        with program.group(name):
            program.add_node(node)
        resources[name] = PythonProcess(env={**place.env, "PYTHONUNBUFFERED": "1"})

    callers = experiment.actor.count + 2  # the learner and the evaluator
    server = lp.Address("variables")
    variables = settings("variables", placement_lib.HOST)
    server_node = lp.PyNode(learner.variable_server, variables, server, callers)
    server_node.allocate_address(server)
    queue_node = lp.ReverbNode(
        functools.partial(learner.queue_tables, settings("queue", placement_lib.HOST))
    )
    queue = queue_node.create_handle()
    learner_node = lp.PyNode(
        learner.learner_node, settings("learner", placement.learner), queue, server
    )
    if experiment.run.colocate:
        # It ends when all three have, so that the last checkpoint is written in peace.
        together = lp.MultiThreadingColocation([learner_node, server_node, queue_node])
        add("learner", placement.learner, together)
    else:
        add("queue", placement_lib.HOST, queue_node)
        add("variables", placement_lib.HOST, server_node)
        add("learner", placement.learner, learner_node)
    for index, place in enumerate(placement.actors):
        name = f"actor_{index}"
        node = lp.PyNode(actor.actor_node, settings(name, place), index, queue, server)
        add(name, place, node)
    scorer = settings("evaluator", placement_lib.HOST)
    add("evaluator", placement_lib.HOST, lp.PyNode(evaluator.evaluator_node, scorer, server))
    return program, resources
