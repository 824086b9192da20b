"""The same grid in pandapower, the independent oracle for power flow."""

import numpy as np
import pandapower as pp
from pandapower.converter.pypower import from_ppc


def build(grid):
    """Returns a pandapower network equal to `grid`, one slack generator at the reference bus."""
    bus, branch, gen = grid.bus, grid.branch, grid.gen
    n, zeros = grid.n_bus, np.zeros
    ppc = {
        "version": "2",
        "baseMVA": grid.base_mva,
        "bus": np.column_stack([
            np.arange(n), bus.type, bus.load_p_mw, bus.load_q_mvar, bus.shunt_p_mw,
            bus.shunt_q_mvar, bus.area, np.ones(n), zeros(n), bus.base_kv, np.ones(n),
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
    return from_ppc(ppc, f_hz=60)


def solve(net, grid, gen_p_mw, load_p_mw, load_q_mvar, vm_setpoint_pu):
    """Returns pandapower's (vm, va in rad) for the given injections, loads given per load bus."""
    for index, (p, q) in enumerate(zip(load_p_mw, load_q_mvar)):
        row = net.load.index[net.load.bus == grid.loads[index]][0]
        net.load.loc[row, ["p_mw", "q_mvar"]] = p, q
    for index, bus in enumerate(grid.gen.bus):
        if bus == grid.reference_bus:
            net.ext_grid.loc[net.ext_grid.bus == bus, "vm_pu"] = vm_setpoint_pu[bus]
        else:
            rows = net.gen.index[net.gen.bus == bus]
            net.gen.loc[rows, "p_mw"] = gen_p_mw[index]
            net.gen.loc[rows, "vm_pu"] = vm_setpoint_pu[bus]
    pp.runpp(net, tolerance_mva=1e-9, init="flat", numba=False, trafo_model="pi",
             calculate_voltage_angles=True)  # fmt: skip
    return net.res_bus.vm_pu.to_numpy(), np.deg2rad(net.res_bus.va_degree.to_numpy())
