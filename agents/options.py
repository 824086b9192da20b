"""What can be chosen about the agents."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds, choices
from envs.inputs.bounds import Range

ACTIVATIONS = ("tanh", "silu", "relu")
ENCODERS = ("mlp", "graph")
NODE_PARAMETERS = ("own", "type")
CONTROLS = DISTRIBUTED, CENTRAL = ("distributed", "central")

_WIDTH, _LAYERS = Range(1, 65_536), (128, 128)


@dataclasses.dataclass(frozen=True)
class TeamOptions(bounds.Options, prefix="team."):
    """Options of the team and its networks. The text beside each field is its help."""

    kind: Annotated[
        str,
        "who shares the grid: centralised, one operator; mappo, an agent for each area, shared "
        "parameters and a critic that sees the whole grid; ippo, the same with nothing in common; "
        "hierarchical, a strategic agent, one for each area, and a safety agent; nodes, an agent "
        "for each bus where something can be moved; microgrids, an agent for each microgrid and "
        "one for the rest",
    ] = "centralised"
    microgrid_control: Annotated[
        str,
        "who operates microgrids: distributed, an agent for each and one for the rest, or central, "
        "one agent for all",
    ] = DISTRIBUTED
    microgrids: Annotated[
        str,
        "microgrids that have an agent of their own, as MG1,MG3; the others are the rest's; none: "
        "all of the fleet's",
    ] = ""
    decision_steps: Annotated[
        int, "steps that a decision of the strategic agent of a hierarchy holds", Range(1, 288)
    ] = 12
    by_role: Annotated[
        str,
        "how agents of a role learn, as multiples of the learner's options: learning_rate, and "
        "weights of the policy, value and entropy in the loss, e.g. "
        "strategic:learning_rate=0.5:entropy=2,safety:policy=4",
    ] = ""
    own_reward: Annotated[
        float,
        "weight of what an agent's own area or bus earns in its reward; the rest is the whole "
        "grid's",
        Range(0.0, 1.0),
    ] = 0.0
    node_parameters: Annotated[
        str, "of the team nodes: own, each node has its own, or type, nodes of a type share theirs"
    ] = "own"
    effective_horizon: Annotated[
        float,
        "steps an agent looks ahead; the discount is 1 - 1/effective_horizon, and 1 looks no "
        "further than its own step",
        Range(1, 1e6),
    ] = 100.0
    encoder: Annotated[
        str,
        "what reads observations: mlp, all of them at once, or graph, those of each bus and of its "
        "neighbours in the grid, with parameters that fit any grid",
    ] = "mlp"
    policy_layers: Annotated[
        tuple[int, ...],
        "hidden layers of the policy, e.g. 128,128; of a graph each is a round of messages",
        _WIDTH,
    ] = _LAYERS
    value_layers: Annotated[tuple[int, ...], "hidden layers of the value function", _WIDTH] = (
        _LAYERS
    )
    activation: Annotated[str, "what follows each hidden layer: tanh, silu or relu"] = "tanh"
    layer_norm: Annotated[bool, "whether each hidden layer is normalised before that"] = False
    initial_std: Annotated[
        float, "initial standard deviation of actions before the squash", Range(0.02, 2.5)
    ] = 0.5
    initial_switching: Annotated[
        float,
        "probability with which a policy that has not learned operates a breaker in a step, where "
        "the layout has breakers",
        Range(0.0001, 0.9),
    ] = 0.01

    def check(self) -> None:
        """Raises ValueError where there is no such encoder, activation or way to share."""
        choices.require("team.encoder", self.encoder, ENCODERS)
        choices.require("team.node_parameters", self.node_parameters, NODE_PARAMETERS)
        choices.require("team.activation", self.activation, ACTIVATIONS)
        choices.require("team.microgrid_control", self.microgrid_control, CONTROLS)
