"""Placements: environment variables for each platform, and what cannot be had."""

import pytest

from launch.host import placement


def _make(spec, actors=2, devices=2, cores=(0, 1)):
    return placement.make(spec, actors, devices, list(cores))


def test_cpu_pins_each_actor_and_gives_the_learner_virtual_devices(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    placed = _make("cpu")
    assert placed.spec == "cpu:a0,1-l0,1"
    assert [place.cores for place in placed.actors] == [(0,), (1,)]
    assert placed.learner.devices == 2
    flags = placed.learner.env["XLA_FLAGS"]
    assert flags.startswith("--xla_cpu_enable_fast_math=false ")
    assert "--xla_force_host_platform_device_count=2" in flags
    assert all(place.env["JAX_PLATFORMS"] == "cpu" for place in placed.actors)


def test_tpu_gives_each_process_its_chips_and_a_port_of_its_own():
    placed = _make("tpu:a0,1-l2,3")
    chips = [place.env["TPU_VISIBLE_CHIPS"] for place in (*placed.actors, placed.learner)]
    assert chips == ["0", "1", "2,3"]
    assert placed.learner.env["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,2,1"
    assert placed.actors[0].env["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,1,1"
    ports = {p.env["TPU_MESH_CONTROLLER_PORT"] for p in (*placed.actors, placed.learner)}
    assert len(ports) == 3
    assert placement.HOST.env["JAX_PLATFORMS"] == "cpu" and placement.HOST.platform == "cpu"


def test_roles_that_share_a_card_share_its_memory():
    placed = _make("gpu:a0,0-l0", devices=1)
    assert placed.actors[0].env["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.30"
    assert placed.learner.env["CUDA_VISIBLE_DEVICES"] == "0"
    apart = _make("gpu:a0,0-l1", devices=1)
    assert apart.learner.env["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.90"


def test_auto_is_cpu_where_there_is_no_accelerator():
    assert _make("auto").spec.startswith("cpu:")


def test_a_learner_alone_has_everything(monkeypatch):
    monkeypatch.setattr(placement, "_installed", lambda *names: "libtpu" in names)
    monkeypatch.setattr(placement.glob, "glob", lambda spec: ["0"] if "accel" in spec else [])
    assert _make("auto", actors=0, devices=1).learner.env["TPU_VISIBLE_CHIPS"] == "0"
    monkeypatch.setattr(placement, "_installed", lambda *names: "libtpu" not in names)
    monkeypatch.setattr(placement.glob, "glob", lambda spec: ["0"] if "nvidia" in spec else [])
    placed = _make("auto", actors=0, devices=1)
    assert placed.learner.env["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.90" and not placed.actors
    monkeypatch.setattr(placement, "_installed", lambda *names: False)
    assert _make("auto", actors=0).learner.devices == 2


@pytest.mark.parametrize(
    "module, pattern, count, note",
    [
        ("jax_cuda12_plugin", "/dev/nvidia", 1, "set --config.learner.devices=1"),
        ("libtpu", "/dev/accel", 3, "lower --config.actor.count or --config.learner.devices"),
    ],
)
def test_auto_says_why_an_accelerator_is_not_used(module, pattern, count, note, monkeypatch):
    there = lambda spec: [f"{pattern}{i}" for i in range(count)] if pattern in spec else []
    monkeypatch.setattr(placement.glob, "glob", there)
    monkeypatch.setattr(placement, "_installed", lambda *names: module in names)
    placed = _make("auto")
    assert placed.spec.startswith("cpu:") and f"{count} " in placed.note and note in placed.note
    few = _make("auto", actors=1, devices=1)
    assert few.spec.startswith(("gpu:", "tpu:")) and not few.note
    assert not _make("cpu").note


@pytest.mark.parametrize(
    "spec, kwargs, message",
    [
        ("cpu", {"actors": 4}, "set --config.actor.count=2, or let actors share cores: "
                               "--placement=cpu:a0,1,0,1-l0,1"),
        ("cpu:a0,5-l0,1", {}, "asks for core 5"),
        ("cpu:a0-l1", {}, "places 1 actors, the experiment has 2"),
        ("tpu:a0,1-l1,2", {}, "gives chip 1 to two processes"),
        ("tpu:a0,1-l2", {}, "gives the learner 1 device"),
        ("tpu:a0,1-l2,3,4", {"devices": 3}, "a process can own 1, 2, 4 chips, not 3"),
        ("quantum:a0-l1", {}, "not understood"),
        ("tpu", {}, "not understood"),
        ("gpu:a-l0", {}, "not understood"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_with_what_can(spec, kwargs, message):
    with pytest.raises(ValueError) as error:
        _make(spec, **kwargs)
    assert message in str(error.value)
