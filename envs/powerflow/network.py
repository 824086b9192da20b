"""What the solvers need of a grid: branches as deviations from a base point, and constant matrices.

Inside `envs.powerflow` buses are ordered PQ first, then PV with the reference bus among them, and
every array has the batch as its last axis: `[n_bus, batch]`. Rows are then contiguous, gathers and
sums over branches move whole rows, and a correction of the whole batch is one matrix product.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case import connectivity
from envs.case.grid import Grid
from envs.powerflow import base_point, matrices

# By precision: 1 kW on a base of 100 MVA; as small as reference programs in double.
_TOLERANCE_PU = {"float32": 1e-5, "float64": 1e-10}
_ROUNDING_PU = 5e-5  # of the mismatch, beyond which voltages keep what rounding leaves out
_COMPENSATED_PU = 2e-5  # the rounding of large flows themselves
GROUND_PU = 10.0  # ties to zero an angle that nothing else fixes; any size will do


class Branches(NamedTuple):
    """Branches in internal bus order, arrays `[n_branch, 1]`; V₁ is the voltage behind the tap."""

    from_bus: np.ndarray  # `[n_branch]`
    to_bus: np.ndarray  # `[n_branch]`
    g: chex.Array  # series conductance
    b: chex.Array  # series susceptance
    x: chex.Array  # series reactance, as the decoupled methods see it
    half_charging: chex.Array
    inverse_tap: chex.Array
    v1_base: chex.Array  # V₁ at the base point
    vt_base: chex.Array
    drop_base: chex.Array  # V₁ − V at the to side, at the base point
    angle_base: chex.Array  # θ_from − θ_to − shift at the base point
    rate_pu: chex.Array  # of what `rated` says


class Decoupled(NamedTuple):
    """Inverses of the decoupled method's matrices, symmetric, and what PV buses turned PQ need."""

    angle: chex.Array  # (B′ + ground)⁻¹ `[n_bus, n_bus]`
    magnitude: chex.Array  # (B″)⁻¹ over PQ buses `[n_pq, n_pq]`
    follow: chex.Array  # (B″)⁻¹ B″ between PQ and PV buses `[n_pq, n_pv]`
    pv: chex.Array  # what B″ of PV buses is where PQ buses follow `[n_pv, n_pv]`


class Network(NamedTuple):
    """A grid as its solvers see it."""

    order: np.ndarray  # `[n_bus]` case index of each internal bus: PQ first, then PV
    position: np.ndarray  # `[n_bus]` internal index of each bus of the case
    n_pq: int  # buses without a generator; the others are PV, the reference bus among them
    reference: int  # internal index
    cut_class: np.ndarray  # `[n_branch]` of `envs.case.connectivity.classes`
    base: base_point.BasePoint  # in double precision, case order
    vm_base: chex.Array  # `[n_bus, 1]`
    va_base: chex.Array  # `[n_bus, 1]`
    shunt_g: chex.Array  # `[n_bus, 1]` pu
    shunt_b: chex.Array  # `[n_bus, 1]` pu
    participation: chex.Array  # `[n_bus, 1]` of the base point
    capacity: chex.Array  # `[n_bus, 1]` Pmax of the units at a bus, pu
    load: chex.Array  # `[n_bus, 1]` the file's active load, pu
    branch: Branches
    inverse_jacobian: chex.Array  # `[n_bus + n_pq, n_bus + n_pq]` of the base point
    decoupled: Decoupled
    rated: str  # what is limited, one of `envs.case.grid.RATED`
    tolerance_pu: float  # the mismatch that a solution is brought to unless a caller says otherwise
    rounding_pu: float  # mismatch that rounding of plain voltages may leave

    @property
    def n_bus(self) -> int:
        """Number of buses."""
        return len(self.order)

    @property
    def n_branch(self) -> int:
        """Number of branches."""
        return len(self.branch.from_bus)

    @property
    def compensated(self) -> bool:
        """Whether voltages keep what rounding leaves out of them."""
        return self.rounding_pu > _ROUNDING_PU

    @property
    def dtype(self):
        """Floating type of every array."""
        return self.vm_base.dtype


def build(
    grid: Grid,
    dtype=None,
    *,
    p_pu: np.ndarray | None = None,
    q_pu: np.ndarray | None = None,
    participation: np.ndarray | None = None,
) -> Network:
    """Returns the solvers' view of a validated grid; computed in double, kept as `dtype`.

    By default that is JAX's: single precision, and double where `jax_enable_x64` is on.

    The base point has the net injections `p_pu` and `q_pu` `[n_bus]`, by default the file's loads
    shared by the units in proportion to Pmax, and `participation` `[n_bus]` in the slack, by
    default that proportion. Requests with the same participation converge fastest.
    """
    dtype = jnp.result_type(float) if dtype is None else dtype
    if p_pu is None or q_pu is None:
        p_pu, q_pu = base_point.nominal_injections(grid)
    point = base_point.solve(grid, p_pu, q_pu, participation)
    pv = np.isin(np.arange(grid.n_bus), grid.gen.bus)
    order = np.concatenate([np.flatnonzero(~pv), np.flatnonzero(pv)])
    position = np.argsort(order)
    n_pq = int((~pv).sum())

    column = lambda x: jnp.asarray(np.asarray(x, float)[:, None], dtype)
    branch = grid.branch
    f, t = branch.from_bus, branch.to_bus
    series = matrices.series_admittance(branch)
    v1, vt = point.vm_pu[f] / branch.tap, point.vm_pu[t]
    branches = Branches(
        from_bus=position[f],
        to_bus=position[t],
        g=column(series.real),
        b=column(series.imag),
        x=column(matrices.reactance(branch)),
        half_charging=column(0.5 * branch.b_pu),
        inverse_tap=column(1.0 / branch.tap),
        v1_base=column(v1),
        vt_base=column(vt),
        drop_base=column(v1 - vt),
        angle_base=column(point.va_rad[f] - point.va_rad[t] - branch.shift_rad),
        rate_pu=column(branch.rate_mva / grid.base_mva),
    )
    # The magnitudes of PQ buses are already in the case's order among themselves.
    rows = np.concatenate([order, grid.n_bus + np.arange(n_pq)])
    jacobian = base_point.jacobian(grid, point)[np.ix_(rows, rows)]
    # The mismatch is a sum of branch powers, each as inexact as the differences it is made of: a
    # deviation from the base of one half is rounded at half of the precision of one.
    admittance_sum = np.zeros(grid.n_bus)  # |y| of the branches at each bus
    np.add.at(admittance_sum, f, np.abs(series))
    np.add.at(admittance_sum, t, np.abs(series))
    rounding = 0.5 * float(jnp.finfo(dtype).eps) * admittance_sum.max()
    tolerance = max(_TOLERANCE_PU[jnp.dtype(dtype).name], rounding)
    return Network(
        order=order,
        position=position,
        n_pq=n_pq,
        reference=int(position[grid.reference_bus]),
        cut_class=connectivity.classes(grid),
        base=point,
        vm_base=column(point.vm_pu[order]),
        va_base=column(point.va_rad[order]),
        shunt_g=column(grid.bus.shunt_p_mw[order] / grid.base_mva),
        shunt_b=column(grid.bus.shunt_q_mvar[order] / grid.base_mva),
        participation=column(point.participation[order]),
        capacity=column(grid.capacity_mw[order] / grid.base_mva),
        load=column(grid.bus.load_p_mw[order] / grid.base_mva),
        branch=branches,
        inverse_jacobian=jnp.asarray(_inverse(jacobian), dtype),
        decoupled=_decoupled(grid, position, n_pq, dtype),
        rated=grid.rated,
        tolerance_pu=_COMPENSATED_PU if rounding > _ROUNDING_PU else tolerance,
        rounding_pu=rounding,
    )


def _decoupled(grid: Grid, position: np.ndarray, n_pq: int, dtype: jnp.dtype) -> Decoupled:
    """Returns the inverses of B′ (reactances alone) and B″ (Stott and Alsac 1974, XB version)."""
    n, branch = grid.n_bus, grid.branch
    f, t = position[branch.from_bus], position[branch.to_bus]
    angle = connectivity.laplacian(n, f, t, 1.0 / matrices.reactance(branch))
    angle[position[grid.reference_bus], position[grid.reference_bus]] += GROUND_PU
    by_series = -matrices.series_admittance(branch).imag
    magnitude = connectivity.laplacian(n, f, t, by_series, 1.0 / branch.tap)
    np.add.at(magnitude, (f, f), -0.5 * branch.b_pu / branch.tap**2)
    np.add.at(magnitude, (t, t), -0.5 * branch.b_pu)
    shunt = np.zeros(n)
    shunt[position] = grid.bus.shunt_q_mvar / grid.base_mva
    magnitude[np.arange(n), np.arange(n)] -= shunt
    pq, between = magnitude[:n_pq, :n_pq], magnitude[:n_pq, n_pq:]
    inverse = _inverse(pq)
    follow = inverse @ between
    cast = lambda x: jnp.asarray(x, dtype)
    return Decoupled(
        angle=cast(_inverse(angle)),
        magnitude=cast(inverse),
        follow=cast(follow),
        pv=cast(magnitude[n_pq:, n_pq:] - between.T @ follow),
    )


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Returns the inverse; the pseudo-inverse of a matrix that has none.

    Such a grid has no power flow, and every method says so by not converging.
    """
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(matrix)
