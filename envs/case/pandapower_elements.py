"""Elements of a pandapower network that a grid has not: refused, replaced, or told of in a note."""

import numpy as np

from envs.case import pandapower_plants, validate
from envs.case.conversion import Notes, listed

# Flexible AC transmission and DC grids: pandapower solves their equations together with AC ones.
_REFUSED = ("svc", "tcsc", "ssc", "vsc", "vsc_stacked", "vsc_bipolar")
_AS_LOADS = {
    "storage": "became constant loads, negative where they discharge; "
    f"{pandapower_plants.REMEDY} batteries of them",
    "motor": "became constant loads",
    "ward": "became loads and shunts",
    "asymmetric_load": "became loads alike in the three phases",
    "asymmetric_sgen": "became generation alike in the three phases",
}
_IN_SERVICE = (
    "bus", "line", "trafo", "trafo3w", "impedance", "load", "gen", "sgen", "ext_grid", "shunt",
    "storage", "motor", "ward", "xward", "dcline", "asymmetric_load", "asymmetric_sgen",
)  # fmt: skip
_SQRT3 = np.sqrt(3.0)


def refuse(net, origin: str) -> None:
    """Raises CaseError for elements in service that no grid can have."""
    for element in _REFUSED:
        table = net.get(element)
        if table is not None and len(table) and (on := _on(table)).any():
            raise validate.CaseError(
                f"{origin}: table {element}: converters and FACTS devices are not modelled, and "
                f"{on.sum()} are in service ({listed(table.index[on])}); replace each by a load, a "
                "generator or an impedance at its operating point"
            )


def describe(net, notes: Notes) -> None:
    """Notes what the tables of `net` have that a grid has otherwise."""
    for element in _IN_SERVICE:
        table = net[element]
        notes.add(element, table.index[~_on(table)], "{n} out of service were left out")
    for element, text in _AS_LOADS.items():
        notes.add(element, net[element].index[_on(net[element])], f"{{n}} {text}")
    count = int(_on(net.trafo3w).sum())
    notes.add(
        "trafo3w", net.trafo3w.index[_on(net.trafo3w)],
        f"{{n}} of three windings became {3 * count} branches with {count} star buses",
    )  # fmt: skip
    notes.add(
        "xward", net.xward.index[_on(net.xward)],
        "{n} became loads, shunts and condensers behind an impedance",
    )  # fmt: skip
    switch = net.switch
    between, closed = switch.et == "b", switch.closed.astype(bool)
    notes.add("switch", switch.index[between & closed], "{n} closed between buses made them one")
    notes.add("switch", switch.index[between & ~closed], "{n} open between buses were left out")
    notes.add("switch", switch.index[~between & closed], "{n} closed at branches were left out")
    notes.add(
        "switch", switch.index[~between & ~closed],
        "{n} open at branches: the branch is out, or ends at a bus of its own",
    )  # fmt: skip
    controllers = net.get("controller")
    if controllers is not None:
        notes.add(
            "controller",
            controllers.index,
            "{n} were left out: taps and set-points stay as they are",
        )


def describe_branches(net, closed: np.ndarray, notes: Notes) -> None:
    """Notes lines and transformers without a rating, of those `closed` in PYPOWER's table."""
    rows = net._pd2ppc_lookups["branch"]
    rate = ratings(net, len(closed), np.ones(len(closed)))
    for element in ("line", "trafo", "trafo3w", "impedance"):
        if element in rows:
            first, last = rows[element]
            lacks = (closed & ~(rate > 0))[first:last].reshape(-1, len(net[element])).any(0)
            notes.add(element, net[element].index[lacks], "{n} without a limit of loading")


def replace_dc_lines(net, notes: Notes) -> None:
    """Puts loads and condensers in the place of DC lines, as `runpp` does with pairs of units.

    What enters at one end and, less losses, leaves at the other is fixed; both ends hold their
    voltage (pandapower's documentation, DC line).
    """
    import pandapower

    lines = net.dcline[_on(net.dcline)]
    notes.add(
        "dcline", lines.index,
        "{n} became a load at one end, a negative one at the other, and condensers that hold their "
        "voltages",
    )  # fmt: skip
    for line in lines.itertuples():
        received = line.p_mw * (1 - line.loss_percent / 100) - line.loss_mw
        if line.p_mw < 0:  # from the to to the from end: losses are on the other side
            received = line.p_mw / (1 - line.loss_percent / 100) - line.loss_mw
        for bus, power, vm_pu, end in (
            (line.from_bus, line.p_mw, line.vm_from_pu, "from"),
            (line.to_bus, -received, line.vm_to_pu, "to"),
        ):
            pandapower.create_load(net, bus, p_mw=power)
            pandapower.create_gen(
                net, bus, p_mw=0.0, vm_pu=vm_pu, min_p_mw=0.0, max_p_mw=0.0,
                min_q_mvar=getattr(line, f"min_q_{end}_mvar"),
                max_q_mvar=getattr(line, f"max_q_{end}_mvar"),
            )  # fmt: skip
    net.dcline.drop(net.dcline.index, inplace=True)


def replace_impedance_loads(net, notes: Notes) -> None:
    """Puts shunts in the place of what loads draw with the square of voltage."""
    import pandapower

    load = net.load
    names = ("const_z_p_percent", "const_z_q_percent", "const_i_p_percent", "const_i_q_percent")
    z_p, z_q, i_p, i_q = (load[name].fillna(0.0).to_numpy() / 100 for name in names)
    on = _on(load)
    by_square, by_current = on & ((z_p != 0) | (z_q != 0)), on & ((i_p != 0) | (i_q != 0))
    notes.add("load", load.index[by_square], "{n} of constant impedance became shunts in that part")
    notes.add(
        "load", load.index[by_current],
        "{n} of constant current draw constant power in that part, as at 1 pu",
    )  # fmt: skip
    for row in np.flatnonzero(by_square):
        each = load.iloc[row]
        pandapower.create_shunt(
            net, each.bus, p_mw=each.p_mw * each.scaling * z_p[row],
            q_mvar=each.q_mvar * each.scaling * z_q[row],
        )  # fmt: skip
    net.load["p_mw"] = load.p_mw * np.where(by_square, 1 - z_p, 1.0)
    net.load["q_mvar"] = load.q_mvar * np.where(by_square, 1 - z_q, 1.0)
    for name in names:
        net.load[name] = 0.0


def ratings(net, n_branch: int, base_kv: np.ndarray) -> np.ndarray:
    """Returns limits `[n_branch]` MVA in PYPOWER's order, zero or no number where there are none.

    Of a line its current at `base_kv` `[n_branch]`, the nominal voltage of its from bus; of a
    transformer its rated power; of either the share that `max_loading_percent` allows.
    """
    rate, rows = np.zeros(n_branch), net._pd2ppc_lookups["branch"]
    number = lambda table, name, default: (
        table[name].astype(float).fillna(default).to_numpy() if name in table else default
    )
    share = lambda table: number(table, "max_loading_percent", 100.0) / 100
    if "line" in rows:
        of_line = slice(*rows["line"])
        amperes = number(net.line, "max_i_ka", 0.0) * net.line.df * net.line.parallel
        rate[of_line] = _SQRT3 * base_kv[of_line] * amperes * share(net.line)
    if "trafo" in rows:
        trafo = net.trafo
        rate[slice(*rows["trafo"])] = trafo.sn_mva * trafo.df * trafo.parallel * share(trafo)
    if "trafo3w" in rows:
        table = net.trafo3w
        rated = [table[f"sn_{side}_mva"] * share(table) for side in ("hv", "mv", "lv")]
        rate[slice(*rows["trafo3w"])] = np.concatenate(rated)
    return rate


def _on(table) -> np.ndarray:
    """Returns which rows are in service, bool."""
    return table.in_service.fillna(False).to_numpy().astype(bool)
