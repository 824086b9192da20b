"""What is typical of a generator of each kind, and where the numbers come from.

A fleet file names the kind of every generator; what it does not say otherwise is taken from here.
`docs/fleets.md` discusses the choices.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Kind:
    """Typical numbers of a generator."""

    ramp_share_per_min: float  # of the largest power
    inertia_s: float  # H on the rating
    droop: float  # share of nominal frequency for full load; infinite: no governor
    co2_t_per_mwh: float  # at the stack


# Ramps and inertia are choices, not data of real units. Ramps order the fuels as operators know
# them around `thermal`, which is 10 % per five minutes. Inertia lies in the ranges of Kundur, Power
# System Stability and Control, table 3.2: 2.5 to 6 s for two-pole thermal sets, 4 to 10 s for the
# four-pole ones of nuclear plants, 2 to 4 s for hydro; condensers have no turbine. Droop of 5 % is
# the common setting of governors (Kundur, section 11.1); nuclear units run at constant power.
# Dispatchable loads are as fast as hydro units; a pump is a hydro unit, and has its inertia. CO2
# is what U.S. plants emitted per net MWh in 2023 (EIA, Frequently Asked Question 74: coal 709 Mt
# over 675 TWh, gas 790 Mt over 1,806 TWh, petroleum 18 Mt over 16 TWh).
KINDS = {
    "coal": Kind(0.015, 4.0, 0.05, 1.05),
    "gas": Kind(0.03, 4.0, 0.05, 0.44),
    "oil": Kind(0.06, 4.0, 0.05, 1.11),
    "nuclear": Kind(0.01, 6.3, np.inf, 0.0),
    "hydro": Kind(0.20, 3.0, 0.05, 0.0),
    "thermal": Kind(0.02, 4.0, 0.05, 0.0),  # of unknown fuel: emissions unknown, counted as none
    "exchange": Kind(0.02, 0.0, np.inf, 0.0),  # a neighbour behind a converter or an equivalent
    "dispatchable_load": Kind(0.20, 0.0, np.inf, 0.0),
    "condenser": Kind(0.0, 1.5, np.inf, 0.0),
}
POWER_FACTOR = 0.85  # rated, common for synchronous generators: MVA = MW / 0.85
