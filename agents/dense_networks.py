"""Networks that read every entry of an observation at once."""

import flax.linen as nn

from agents import heads, options as options_lib


class Torso(nn.Module):
    """Fully connected layers, orthogonal initialisation."""

    widths: tuple[int, ...]
    activation: str  # of `options.ACTIVATIONS`
    layer_norm: bool  # before each activation (Ba, Kiros and Hinton 2016)

    @nn.compact
    def __call__(self, x):
        """Returns features `[..., widths[-1]]` of inputs `[..., n]`."""
        for width in self.widths:
            x = nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x)
            x = nn.LayerNorm()(x) if self.layer_norm else x
            x = getattr(nn, self.activation)(x)
        return x


def _torso(widths: tuple[int, ...], options: options_lib.TeamOptions) -> Torso:
    # No shape tells an activation, so that the name of the parameters does: without it a checkpoint
    # would be read into another function. The first activation has kept the name that Flax gives.
    first = options.activation == options_lib.ACTIVATIONS[0]
    name = None if first else f"{options.activation.capitalize()}Torso"
    return Torso(widths, options.activation, options.layer_norm, name=name)


class PolicyNetwork(nn.Module):
    """What one agent's actions are drawn from: normals before the squash, and a breaker."""

    options: options_lib.TeamOptions
    n_action: int  # but for breakers
    n_breakers: int

    @nn.compact
    def __call__(self, x):
        """Returns mean and log standard deviation, `[..., n_action]` each, and logits.

        Logits `[..., 1 + n_breakers]` are of no operation and of operating each breaker; none where
        there are no breakers.
        """
        x = _torso(self.options.policy_layers, self.options)(x)
        normal = heads.gaussian(x, self.n_action, self.options)
        logits = heads.breakers(x, self.n_breakers, self.options) if self.n_breakers else None
        return *normal, logits


class ValueNetwork(nn.Module):
    """Normalised values of one agent."""

    options: options_lib.TeamOptions
    costs: int

    @nn.compact
    def __call__(self, x):
        """Returns values of reward and costs `[..., 1 + costs]` of inputs `[..., n]`."""
        return heads.values(_torso(self.options.value_layers, self.options)(x), self.costs)
