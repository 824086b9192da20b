"""Which cores, chips or cards each process owns, as environment variables and core numbers.

A placement is written `PLATFORM:aACTORS-lLEARNERS`: `tpu:a0,1-l2,3` gives actors 0 and 1 a chip
each and the learner chips 2 and 3; `gpu:a0,0-l1` lets two actors share card 0; `cpu:a0,1-l0,1`
pins actors to cores 0 and 1 and lets the learner use both. `cpu` pins one actor to each core and
leaves the learner free; `auto` looks for a TPU, then a GPU, else takes `cpu`.
"""

import dataclasses
import glob
import importlib.util
import os
import re
from collections.abc import Mapping

PLATFORMS = ("cpu", "gpu", "tpu")

_FORM = re.compile(r"^(?P<platform>[a-z]+):a(?P<actors>(\d+(,\d+)*)?)-l(?P<learners>\d+(,\d+)*)$")
_TPU_PORT = 8476  # The first mesh controller port; each process gets one of its own.
_GPU_MEMORY = 0.9  # Share of a card's memory that all its processes together may take.
# Bounds that libtpu accepts for so many chips of one host, as x,y,z.
_CHIP_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1"}


@dataclasses.dataclass(frozen=True)
class Place:
    """What one process owns and must find when it starts."""

    platform: str
    devices: int  # how many JAX devices it must see
    cores: tuple[int, ...] | None  # processor cores it is pinned to, none for all
    env: Mapping[str, str]  # to be set before the process imports jax


# Nothing that runs on the host's processor may take an accelerator.
_CPU_ENV = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
HOST = Place("cpu", 1, None, _CPU_ENV)  # of evaluator, queue and variable server


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the actors and the learner of a run live."""

    spec: str  # written out, never "auto"
    actors: tuple[Place, ...]
    learner: Place
    note: str = ""  # why an accelerator that is there is not used


def make(spec: str, actors: int, learner_devices: int, cores: list[int] | None = None) -> Placement:
    """Returns the placement that `spec` describes, as the module's text says.

    The learner's update is spread over `learner_devices`; with no `actors` it has everything.
    `cores` are those that this program may use, by default those that the system allows.

    Raises:
      ValueError: it is misspelt, or asks for what is not there.
    """
    cores = sorted(os.sched_getaffinity(0)) if cores is None else cores
    note = ""
    if spec == "auto":
        spec, note = _detect(actors, learner_devices)
    if spec == "cpu":
        if actors > len(cores):
            raise ValueError(
                f"--placement=cpu pins each of {actors} actors to a core of its own, and this "
                f"machine lets us use {len(cores)}; set --config.actor.count={len(cores)}, or let "
                f"actors share cores: --placement=cpu:a{_listed(actors, cores)}-l{_ids(cores)}"
            )
        spec = f"cpu:a{_listed(actors, cores)}-l{_ids(cores)}"
    match = _FORM.match(spec)
    if not match or match["platform"] not in PLATFORMS or bool(match["actors"]) != bool(actors):
        raise ValueError(
            f"--placement={spec}: not understood; write auto, cpu, or PLATFORM:aIDS-lIDS with "
            f"a platform of {', '.join(PLATFORMS)}, as in tpu:a0,1-l2,3"
        )
    actor_ids = [int(n) for n in match["actors"].split(",") if n]
    learner_ids = [int(n) for n in match["learners"].split(",")]
    if len(actor_ids) != actors:
        raise ValueError(
            f"--placement={spec} places {len(actor_ids)} actors, the experiment has {actors}; "
            f"list {actors} ids after a, or set --config.actor.count={len(actor_ids)}"
        )
    build = {"cpu": _on_cpu, "gpu": _on_gpu, "tpu": _on_tpu}[match["platform"]]
    placement = build(spec, actor_ids, learner_ids, learner_devices, cores)
    return dataclasses.replace(placement, note=note)


def _on_cpu(spec, actor_ids, learner_ids, learner_devices, cores) -> Placement:
    absent = sorted((set(actor_ids) | set(learner_ids)) - set(cores))
    if absent:
        raise ValueError(
            f"--placement={spec} asks for core {absent[0]}; this machine lets us use cores "
            f"{_ids(cores)}"
        )
    virtual = f"--xla_force_host_platform_device_count={learner_devices}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {virtual}".strip()  # with what the user has set
    learner_env = {**_CPU_ENV, "XLA_FLAGS": flags}
    return Placement(
        spec,
        tuple(Place("cpu", 1, (core,), _CPU_ENV) for core in actor_ids),
        Place("cpu", learner_devices, tuple(learner_ids), learner_env),
    )


def _on_gpu(spec, actor_ids, learner_ids, learner_devices, cores) -> Placement:
    _require_ids(spec, learner_ids, learner_devices)
    users = lambda card: actor_ids.count(card) + (card in learner_ids)

    def place(ids):
        share = _GPU_MEMORY / max(map(users, ids))
        env = {
            "JAX_PLATFORMS": "cuda",
            "CUDA_VISIBLE_DEVICES": _ids(ids),
            "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share:.2f}",
        }
        return Place("gpu", len(ids), None, env)

    return Placement(spec, tuple(place([card]) for card in actor_ids), place(learner_ids))


def _on_tpu(spec, actor_ids, learner_ids, learner_devices, cores) -> Placement:
    _require_ids(spec, learner_ids, learner_devices)
    everyone = actor_ids + learner_ids
    shared = sorted({chip for chip in everyone if everyone.count(chip) > 1})
    if shared:
        raise ValueError(
            f"--placement={spec} gives chip {shared[0]} to two processes; a TPU chip belongs to one"
        )
    if len(learner_ids) not in _CHIP_BOUNDS:
        raise ValueError(
            f"--placement={spec}: a process can own {', '.join(map(str, _CHIP_BOUNDS))} chips, "
            f"not {len(learner_ids)}"
        )

    def place(ids, port):
        bounds, visible = _CHIP_BOUNDS[len(ids)], _ids(ids)
        env = {
            "JAX_PLATFORMS": "tpu",
            "TPU_VISIBLE_CHIPS": visible,
            "TPU_CHIPS_PER_PROCESS_BOUNDS": bounds,
            "TPU_PROCESS_BOUNDS": "1,1,1",
            # The spellings that older releases of libtpu read.
            "TPU_VISIBLE_DEVICES": visible,
            "TPU_CHIPS_PER_HOST_BOUNDS": bounds,
            "TPU_HOST_BOUNDS": "1,1,1",
            "TPU_MESH_CONTROLLER_ADDRESS": f"localhost:{port}",
            "TPU_MESH_CONTROLLER_PORT": str(port),
        }
        return Place("tpu", len(ids), None, env)

    actors = tuple(place([chip], _TPU_PORT + i) for i, chip in enumerate(actor_ids))
    return Placement(spec, actors, place(learner_ids, _TPU_PORT + len(actor_ids)))


def _detect(actors: int, learner_devices: int) -> tuple[str, str]:
    """Returns the placement for what this machine has, without starting jax, and a note.

    The note says why an accelerator is not used that is there and that jax is installed for.
    """
    note = ""
    chips = len(glob.glob("/dev/accel*")) or len(glob.glob("/dev/vfio/[0-9]*"))
    if _installed("libtpu") and chips:
        if chips >= actors + learner_devices:
            learners = range(actors, actors + learner_devices)
            return f"tpu:a{_ids(range(actors))}-l{_ids(learners)}", ""
        note = (
            f"{chips} TPU chip(s) here, {actors} for actors and learner.devices={learner_devices} "
            "are needed: using the CPU; lower --config.actor.count or --config.learner.devices"
        )
    cards = len(glob.glob("/dev/nvidia[0-9]*"))
    if _installed("jax_cuda12_plugin", "jax_cuda13_plugin") and cards:
        if cards >= learner_devices:
            first = cards - learner_devices  # The learner takes the last, actors share the rest.
            shared = [i % max(first, 1) for i in range(actors)]
            return f"gpu:a{_ids(shared)}-l{_ids(range(first, cards))}", ""
        note = (
            f"{cards} GPU(s) here, learner.devices={learner_devices} are needed: using the CPU; "
            f"set --config.learner.devices={cards}"
        )
    return "cpu", note


def _installed(*modules: str) -> bool:
    return any(importlib.util.find_spec(module) for module in modules)


def _require_ids(spec: str, learner_ids: list[int], learner_devices: int) -> None:
    if len(learner_ids) != learner_devices:
        raise ValueError(
            f"--placement={spec} gives the learner {len(learner_ids)} device(s); list "
            f"{learner_devices}, or set --config.learner.devices={len(learner_ids)}"
        )


def _ids(numbers) -> str:
    return ",".join(str(n) for n in numbers)


def _listed(count: int, cores: list[int]) -> str:
    """Returns `count` of `cores`, going round when there are fewer."""
    return _ids(cores[i % len(cores)] for i in range(count))
