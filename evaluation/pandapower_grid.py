"""The same grid in pandapower, an independent reference for power flow.

The one file here that imports pandapower; everything else runs without it.
"""

import dataclasses
import warnings

import numpy as np
import pandapower as pp
from pandapower.converter.pypower import from_ppc

from envs.powerflow import base_point


@dataclasses.dataclass
class Solution:
    """A power flow by pandapower; voltages are NaN at buses that it finds cut off."""

    converged: bool
    vm: np.ndarray = None  # [n_bus]
    va: np.ndarray = None  # [n_bus] rad
    flows: np.ndarray = None  # [n_branch, 4] P, Q at the from and at the to end, MW and MVAr
    slack_mw: float = None  # what the reference unit produces, or all that balance
    slack_at_mw: np.ndarray = None  # [n_bus] the same where it stands
    gen_q: np.ndarray = None  # [n_bus] MVAr of the generators at each PV bus


class Oracle:
    """A pandapower network equal to `grid`, whose reference bus balances it alone."""

    def __init__(self, grid):
        self.grid = grid
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.net = from_ppc(tables(grid), f_hz=60)
        self.net.load.drop(self.net.load.index, inplace=True)
        pp.create_loads(self.net, np.arange(grid.n_bus), 0.0)
        # In for the reference unit, so that its bus is a PV bus where another balances.
        self._stand_in = pp.create_gen(self.net, grid.reference_bus, p_mw=0.0)
        self._branches = self.net._from_ppc_lookups["branch"]

    def solve(
        self, p_pu, q_pu, vm_setpoint=None, out=(), start=None, pv_to_pq=(), dc=False, slack=None,
        **options,
    ) -> Solution:  # fmt: skip
        """Solves for net injections `[n_bus]` pu with the branches `out` out of service.

        Generators at the buses `pv_to_pq` are out as well. With `dc` the power flow is the DC one.
        `slack` is the bus that balances the grid, usually the reference bus, or one for each island
        that is to be solved; another must have a generator.
        """
        net, grid, base = self.net, self.grid, self.grid.base_mva
        setpoint = base_point.voltage_setpoints(grid) if vm_setpoint is None else vm_setpoint
        # All active power comes in as load and all generators produce nothing, but the slack.
        net.load["p_mw"], net.load["q_mvar"] = -p_pu * base, -q_pu * base
        for table in (net.gen, net.sgen):
            table["p_mw"] = 0.0
        net.sgen["q_mvar"] = 0.0
        slacks = np.atleast_1d(grid.reference_bus if slack is None else slack)
        elsewhere = grid.reference_bus not in slacks
        net.gen["in_service"] = ~net.gen.bus.isin(pv_to_pq)
        net.gen.loc[self._stand_in, "in_service"] &= elsewhere
        net.gen["vm_pu"] = setpoint[net.gen.bus.to_numpy()]
        net.ext_grid["vm_pu"] = setpoint[net.ext_grid.bus.to_numpy()]
        net.ext_grid["in_service"] = not elsewhere
        net.gen["slack"] = net.gen.bus.isin(slacks) & net.gen.in_service
        for kind in ("line", "trafo", "impedance"):
            net[kind]["in_service"] = True
        for branch in out:
            element, kind = self._branches.loc[branch, ["element", "element_type"]]
            net[kind].loc[int(element), "in_service"] = False
        settings = {"init": "flat", "tolerance_mva": 1e-8, "max_iteration": 30, **options}
        if start is not None:
            settings["init"] = "auto"
            settings["init_vm_pu"], settings["init_va_degree"] = start[0], np.rad2deg(start[1])
        if dc:
            pp.rundcpp(net, numba=False, trafo_model="pi", calculate_voltage_angles=True)
            return Solution(True, va=np.deg2rad(net.res_bus.va_degree.to_numpy()),
                          flows=self._flows())  # fmt: skip
        try:
            pp.runpp(net, numba=False, trafo_model="pi", calculate_voltage_angles=True, **settings)
        except pp.LoadflowNotConverged:
            return Solution(False)
        gen_q, slack_p = np.zeros(grid.n_bus), np.zeros(grid.n_bus)
        for table, result in ((net.gen, net.res_gen), (net.ext_grid, net.res_ext_grid)):
            bus, balances = table.bus.to_numpy(), table.get("slack", True)
            np.add.at(gen_q, bus, np.nan_to_num(result.q_mvar.to_numpy()))
            np.add.at(slack_p, bus, np.nan_to_num((result.p_mw * balances).to_numpy()))
        return Solution(
            True,
            net.res_bus.vm_pu.to_numpy(),
            np.deg2rad(net.res_bus.va_degree.to_numpy()),
            self._flows(),
            float(slack_p.sum()),
            slack_p,
            gen_q,
        )

    def _flows(self):
        """Returns the flows in the case's order and direction."""
        net, branch = self.net, self.grid.branch
        flows = np.zeros((self.grid.n_branch, 4))
        ends = {"line": ("from", "to"), "impedance": ("from", "to"), "trafo": ("hv", "lv")}
        for kind, (one, other) in ends.items():
            rows = np.flatnonzero(self._branches.element_type == kind)
            if not rows.size:
                continue
            index = self._branches.element.iloc[rows].astype(int)
            columns = [f"p_{one}_mw", f"q_{one}_mvar", f"p_{other}_mw", f"q_{other}_mvar"]
            powers = net[f"res_{kind}"].loc[index, columns].to_numpy()
            first = net[kind].loc[index, f"{one}_bus"].to_numpy()
            turned = first != branch.from_bus[rows]
            powers[turned] = powers[turned][:, [2, 3, 0, 1]]
            flows[rows] = powers
        return flows


def tables(grid):
    """Returns the grid as PYPOWER tables.

    One voltage level for all: where levels differ, the converter puts the tap of a transformer that
    is listed from its low side at the wrong end. Per unit, levels do not matter.
    """
    bus, branch, gen = grid.bus, grid.branch, grid.gen
    n, zeros = grid.n_bus, np.zeros
    return {
        "version": "2",
        "baseMVA": grid.base_mva,
        "bus": np.column_stack([
            np.arange(n), bus.type, bus.load_p_mw, bus.load_q_mvar, bus.shunt_p_mw,
            bus.shunt_q_mvar, bus.area, np.ones(n), zeros(n), np.full(n, 100.0), np.ones(n),
            bus.vm_max_pu, bus.vm_min_pu,
        ]),
        "branch": np.column_stack([
            branch.from_bus, branch.to_bus, branch.r_pu, branch.x_pu, branch.b_pu,
            *[np.where(np.isfinite(branch.rate_mva), branch.rate_mva, 9999)] * 3,
            np.where(branch.tap == 1, 0, branch.tap), np.rad2deg(branch.shift_rad),
            np.ones(grid.n_branch), np.full(grid.n_branch, -360), np.full(grid.n_branch, 360),
        ]),
        "gen": np.column_stack([
            gen.bus, gen.p_mw, zeros(grid.n_gen), gen.q_max_mvar, gen.q_min_mvar,
            gen.vm_setpoint_pu, np.full(grid.n_gen, 100.0), np.ones(grid.n_gen), gen.p_max_mw,
            gen.p_min_mw, *[zeros(grid.n_gen)] * 11,
        ]),
    }  # fmt: skip
