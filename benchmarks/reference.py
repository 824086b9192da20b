"""Power flow in float64 with sparse matrices, which every solver that is measured is checked by.

It shares no code with the solvers in `envs.powerflow`, and nothing here is timed. Formulas and
columns are those of MATPOWER (manual, section 3.1 and appendix B; MATPOWER Technical Note 2).
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.linalg


class Equations(NamedTuple):
    """What voltages have to solve."""

    y: scipy.sparse.csr_matrix  # bus admittances `[n_bus, n_bus]` pu
    p_pu: np.ndarray  # net active injection, `[n_problem, n_bus]` or `[n_bus]`
    q_pu: np.ndarray  # net reactive injection, shaped alike
    setpoint_pu: np.ndarray  # `[n_bus]`, used where the voltage is controlled
    voltage_controlled: np.ndarray  # bool `[n_bus]`
    reference: int  # the bus whose angle is fixed, and that balances active power


class Residual(NamedTuple):
    """How far voltages are from solving their problem, each `[n_problem]`; NaN counts as far."""

    mismatch_pu: np.ndarray  # largest absolute power mismatch, active or reactive
    setpoint_error_pu: np.ndarray  # largest deviation of a controlled voltage from its set-point


def admittance(base_mva: float, bus: np.ndarray, branch: np.ndarray) -> scipy.sparse.csr_matrix:
    """Returns the bus admittance matrix `[n_bus, n_bus]` in pu of MATPOWER's matrices."""
    n, (f, t, entries) = len(bus), _branch_admittances(branch)
    shunt = (bus[:, 4] + 1j * bus[:, 5]) / base_mva
    diagonal = np.arange(n)
    rows = np.concatenate([f, f, t, t, diagonal])
    columns = np.concatenate([f, t, f, t, diagonal])
    values = np.concatenate([*entries, shunt])
    return scipy.sparse.csr_matrix((values, (rows, columns)), shape=(n, n))


def loading(base_mva: float, branch: np.ndarray, vm_pu: np.ndarray, va_rad: np.ndarray):
    """Returns the loading `[…, n_branch]` at voltages `[…, n_bus]`.

    That of a branch is the apparent power of its more loaded end over its rating; zero without one.
    """
    f, t, (own_f, to_f, to_t, own_t) = _branch_admittances(branch)
    voltage = vm_pu * np.exp(1j * va_rad)
    v_f, v_t = voltage[..., f], voltage[..., t]
    at_from = abs(v_f * np.conj(own_f * v_f + to_f * v_t))
    at_to = abs(v_t * np.conj(to_t * v_f + own_t * v_t))
    rate_pu = branch[:, 5] / base_mva
    limited = rate_pu > 0  # 0 means no limit
    return np.where(limited, np.maximum(at_from, at_to) / np.where(limited, rate_pu, 1.0), 0.0)


def _branch_admittances(branch: np.ndarray):
    """Returns (from, to, (Yff, Yft, Ytf, Ytt)) of the branches, each `[n_branch]`."""
    f, t = branch[:, :2].astype(int).T
    r, x, b, ratio, shift_deg = branch[:, [2, 3, 4, 8, 9]].T
    series = 1.0 / (r + 1j * x)
    tap = np.where(ratio == 0, 1.0, ratio) * np.exp(1j * np.deg2rad(shift_deg))
    own = series + 0.5j * b
    return f, t, (own / abs(tap) ** 2, -series / np.conj(tap), -series / tap, own)


def residual(equations: Equations, vm_pu: np.ndarray, va_rad: np.ndarray) -> Residual:
    """Returns the residual of voltages `[n_problem, n_bus]` at injections of the same shape."""
    y, p_pu, q_pu, setpoint_pu, voltage_controlled, reference = equations
    vm, va = np.asarray(vm_pu, np.float64), np.asarray(va_rad, np.float64)
    voltage = vm * np.exp(1j * va)
    power = voltage * np.conj((y @ voltage.T).T)
    dp, dq = abs(power.real - p_pu), abs(power.imag - q_pu)
    dp[:, reference] = 0.0
    dq[:, voltage_controlled] = 0.0
    off = np.where(voltage_controlled, abs(vm - setpoint_pu), 0.0)
    far = lambda x: np.where(np.isfinite(x), x, np.inf)
    return Residual(far(np.maximum(dp.max(1), dq.max(1))), far(off.max(1)))


def solve(
    equations: Equations, vm_pu: np.ndarray, va_rad: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (vm, va), each `[n_bus]`, after Newton's method from voltages.

    The equations are of one problem. Whether the voltages solve it is for `residual` to say.
    """
    y, p_pu, q_pu, setpoint_pu, voltage_controlled, reference = equations
    angles = np.flatnonzero(np.arange(len(p_pu)) != reference)
    magnitudes = np.flatnonzero(~voltage_controlled)
    vm, va = np.where(voltage_controlled, setpoint_pu, vm_pu), va_rad.copy()
    for _ in range(30):
        voltage = vm * np.exp(1j * va)
        current = y @ voltage
        power = voltage * np.conj(current)
        error = np.concatenate([(power.real - p_pu)[angles], (power.imag - q_pu)[magnitudes]])
        if not np.all(np.isfinite(error)) or abs(error).max() < 1e-11:
            break
        v, i, unit = (scipy.sparse.diags(d) for d in (voltage, current, voltage / vm))
        by_angle = (1j * v @ (i - y @ v).conj()).tocsr()
        by_magnitude = (v @ (y @ unit).conj() + i.conj() @ unit).tocsr()
        jacobian = scipy.sparse.bmat([
            [by_angle.real[angles][:, angles], by_magnitude.real[angles][:, magnitudes]],
            [by_angle.imag[magnitudes][:, angles], by_magnitude.imag[magnitudes][:, magnitudes]],
        ])  # fmt: skip
        step = scipy.sparse.linalg.spsolve(jacobian.tocsc(), -error)
        va[angles] += step[: len(angles)]
        vm[magnitudes] += step[len(angles) :]
    return vm, va
