"""The state of one grid between two steps."""

from collections.abc import Mapping

import chex
import flax.struct

from envs.step import switching
from envs.step.frequency import FrequencyState
from envs.step.protection import Thresholds
from envs.time_series.series import TimeSeries


@flax.struct.dataclass
class State:
    """One grid at one time. All entries are unbatched; physical units."""

    t: chex.Array  # row of the time series that was last applied
    series: TimeSeries | None  # of the episode; none where it is kept apart
    gen_p_mw: chex.Array  # `[n_gen]`; what condensers draw is negative
    gen_on: chex.Array  # bool `[n_gen]`
    condenser_mw: chex.Array  # `[n_gen]` what condensers will draw in the next step, negative
    energy_mwh: chex.Array  # `[n_storage]` stored
    branch: switching.BranchState
    frequency: FrequencyState
    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    losses_mw: chex.Array
    observation: chex.Array  # `[observation_size]`
    reward: chex.Array
    terms: Mapping[str, chex.Array]  # reward terms of the last step, see `rewards.TERM_UNITS`
    terminated: chex.Array  # bool
    truncated: chex.Array  # bool
    reason: chex.Array  # `termination.Reason`
    trip_round: chex.Array  # int8 `[n_branch]` round of the cascade in which each tripped, or 0
    metrics: Mapping[str, chex.Array]  # largest loading, voltage range, what projection changed
    protection: Thresholds | None = None  # of the episode; none: the options'

    @property
    def done(self) -> chex.Array:
        """Whether the episode has ended, either way."""
        return self.terminated | self.truncated

    @property
    def connected_share(self) -> chex.Array:
        """Share of load that frequency relays have not shed."""
        return 1.0 - self.frequency.shed_share
