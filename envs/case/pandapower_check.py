"""Refuses pandapower networks with values that no element can have, and says of which element."""

import numpy as np

from envs.case import validate

# Of what is in service: columns that need a number, and of those the ones that are positive.
_NUMBERS = {
    "bus": (), "load": ("p_mw", "q_mvar", "scaling"), "sgen": ("p_mw", "q_mvar", "scaling"),
    "gen": ("p_mw", "vm_pu", "scaling"), "ext_grid": ("vm_pu",), "storage": ("p_mw", "q_mvar"),
    "shunt": ("p_mw", "q_mvar"), "line": ("r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km"),
    "trafo": ("vkr_percent", "pfe_kw", "i0_percent"),
}  # fmt: skip
_POSITIVE = {
    "bus": ("vn_kv",), "gen": ("vm_pu",), "ext_grid": ("vm_pu",), "line": ("length_km", "parallel"),
    "trafo": ("sn_mva", "vn_hv_kv", "vn_lv_kv", "parallel"),
}  # fmt: skip
_NOT_ZERO = {"trafo": ("vk_percent",)}  # below zero where three windings were made of three
_ENDS = ("bus", "from_bus", "to_bus", "hv_bus", "lv_bus", "mv_bus")


def check(net, origin: str) -> None:
    """Refuses a network by table, index and column of the first element that is not sound.

    Raises:
      validate.CaseError: a value is no number, or zero where none can be, or a bus is not there.
    """
    for name in _NUMBERS:
        table = net[name]
        table = table[table.in_service.astype(bool)]
        positive, not_zero = _POSITIVE.get(name, ()), _NOT_ZERO.get(name, ())
        for column in (*_NUMBERS[name], *positive, *not_zero):
            if column not in table:
                continue
            values, rule = table[column].to_numpy(float), "a finite number"
            bad = ~np.isfinite(values)
            if column in positive:
                bad, rule = bad | ~(values > 0), "a number above 0"
            elif column in not_zero:
                bad, rule = bad | (values == 0), "a number other than 0"
            if bad.any():
                row = int(bad.argmax())
                raise validate.CaseError(
                    f"{origin}: {name} {table.index[row]}: {column} is {values[row]:g}, it must be "
                    f"{rule}"
                )
        for column in (each for each in _ENDS if each in table):
            unknown = ~table[column].isin(net.bus.index)
            if unknown.any():
                raise validate.CaseError(
                    f"{origin}: {name} {table.index[unknown][0]}: {column} is "
                    f"{table[column][unknown].iloc[0]}, there is no such bus"
                )
