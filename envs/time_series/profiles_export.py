"""Writes the profiles of a SimBench network as a folder that `env.time_series` takes.

    net = simbench.get_simbench_net("1-LV-rural1--0-sw")
    profiles_export.write(net, "days")
    net.sgen["in_service"] = False    # wind and sun come with the days
    case_file.write_json(case_file.load(net), pathlib.Path("grid.json"))

It writes whatever pandapower network has a column `profile` in its tables `load` and `sgen`, and
`net.profiles`, as simbench has them.
"""

import pathlib

from envs.case import pandapower_net
from envs.time_series import profiles_files as files

_LOADS, _PLANTS = "load", "renewables"  # entries of net.profiles


def write(net, folder: str | pathlib.Path) -> None:
    """Writes the tables of profiles and of who follows them; nodes are the grid's bus numbers.

    Loads out of service are left out; static generators are written whether in service or not.

    Raises:
      ValueError: the network has no profiles.
    """
    profiles = net.get("profiles")
    if not profiles or _LOADS not in profiles or "profile" not in net.load:
        raise ValueError(
            "the network has no profiles: it needs a column profile in net.load, and net.profiles, "
            "as simbench.get_simbench_net makes them"
        )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    number = pandapower_net.bus_numbers(net)
    loads = net.load[net.load.in_service.astype(bool) & net.load.bus.isin(number)]
    used = {f"{name}_{letter}load" for name in loads.profile for letter in "pq"}
    _write(profiles[_LOADS], used, folder / files.LOAD_PROFILE)
    lines = ["id;node;profile;pLoad;qLoad"]
    for row in loads.itertuples():
        p_mw, q_mvar = row.p_mw * row.scaling, row.q_mvar * row.scaling
        lines.append(f"{row.Index};{number[row.bus]};{row.profile};{p_mw!r};{q_mvar!r}")
    (folder / files.LOADS).write_text("\n".join(lines) + "\n")
    if _PLANTS not in profiles or "profile" not in net.sgen or not len(net.sgen):
        return
    plants = net.sgen[net.sgen.profile.isin(profiles[_PLANTS].columns) & net.sgen.bus.isin(number)]
    _write(profiles[_PLANTS], set(plants.profile), folder / files.PLANT_PROFILE)
    lines = ["id;node;type;profile;pRES"]
    for row in plants.itertuples():
        p_mw = row.p_mw * row.scaling
        lines.append(f"{row.Index};{number[row.bus]};{row.type};{row.profile};{p_mw!r}")
    (folder / files.PLANTS).write_text("\n".join(lines) + "\n")


def _write(table, columns: set[str], path: pathlib.Path) -> None:
    """Writes those columns of a table of profiles, and its times."""
    table[["time", *(name for name in table if name in columns)]].to_csv(path, sep=";", index=False)
