"""How far the power flow of a grid that was read through pypowsybl is from OpenLoadFlow's."""

import logging
import pathlib

import numpy as np
import pypowsybl.loadflow
import pypowsybl.network

from envs.case import case_file, powsybl_file, powsybl_shunts, psse_raw
from envs.case.conversion import Conversion, Notes

from . import pandapower_round_trip

# Format as pypowsybl calls it, and how files of it end.
FORMATS = {"XIIDM": ".xiidm", "PSS/E": ".raw", "CGMES": ".zip"}


def write(network, format_: str, folder: pathlib.Path, name: str = "mine") -> pathlib.Path:
    """Returns the file that pypowsybl writes `network` to."""
    path = folder / f"{name}{FORMATS[format_]}"
    network.save(str(path), format=format_)
    return path


def compare(path: pathlib.Path) -> tuple[Conversion, float]:
    """Returns the grid of a file, and the largest difference of voltage from OpenLoadFlow's, pu.

    The same bus balances both, and neither has limits of reactive power.
    """
    logging.getLogger("powsybl").setLevel(logging.CRITICAL)
    conversion = case_file.read(path)
    grid = conversion.grid
    network = pypowsybl.network.load(str(path))
    struct = powsybl_file._struct(network)
    if path.suffix == ".raw":
        psse_raw.restore(path, struct, Notes())
    numbers = np.atleast_2d(struct["bus"])[:, 0].astype(int)
    rows = powsybl_shunts.bus_rows(network, struct)
    number = grid.bus.id[grid.reference_bus]
    (slack,) = [bus for bus, row in rows.items() if numbers[row] == number]
    parameters = pypowsybl.loadflow.Parameters(
        distributed_slack=False,
        use_reactive_limits=False,
        read_slack_bus=False,
        transformer_voltage_control_on=False,
        shunt_compensator_voltage_control_on=False,
        phase_shifter_regulation_on=False,
        twt_split_shunt_admittance=False,
        voltage_init_mode=pypowsybl.loadflow.VoltageInitMode.DC_VALUES,
        provider_parameters={
            "slackBusSelectionMode": "NAME",
            "slackBusesIds": slack,
            "newtonRaphsonConvEpsPerEq": "1e-10",
        },
    )
    result = pypowsybl.loadflow.run_ac(network, parameters)
    assert result[0].status.name == "CONVERGED", path
    buses, levels = network.get_buses(), network.get_voltage_levels().nominal_v
    voltages = pandapower_round_trip.solve_host(grid)
    place = {int(number): row for row, number in enumerate(grid.bus.id)}
    differences = [
        buses.v_mag[bus] / levels[buses.voltage_level_id[bus]] - voltages.vm_pu[place[numbers[row]]]
        for bus, row in rows.items()
    ]
    assert len(differences) > 1
    return conversion, float(np.abs(differences).max())
