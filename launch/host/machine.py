"""The machine, the versions and the commit that a measurement belongs to, and its cores."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

_ROOT = pathlib.Path(__file__).parents[2]  # of the repository
_EXTRAS = {"cuda": "cuda12"}  # what jax calls the packages that a platform needs, if otherwise
_PACKAGES = ("jax", "jaxlib", "numpy", "scipy")


def pin(threads: int, platform: str = "cpu") -> list[int]:
    """Keeps this process on `threads` cores and returns them. Call before jax or numpy is imported.

    The affinity is what limits XLA: its thread pools are as large as the set of allowed cores.
    Child processes inherit it. jax computes on `platform`.

    Raises:
      ValueError: so many cores are not to be had.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(allowed):
        raise ValueError(
            f"--threads={threads}: this machine lets us use {len(allowed)} core(s), so give "
            f"1 to {len(allowed)}"
        )
    cores = allowed[:threads]
    os.sched_setaffinity(0, cores)
    for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    os.environ["JAX_PLATFORMS"] = platform
    # One device for each core: a compiled call works on one tile of lanes after another, so that
    # batches are divided (`spread`), and threads within a product are not worth their cost.
    flags = os.environ.get("XLA_FLAGS", "")
    ours = f"--xla_cpu_multi_thread_eigen=false --xla_force_host_platform_device_count={threads}"
    os.environ["XLA_FLAGS"] = f"{flags} {ours}".strip()
    return cores


def check_platform(platform: str) -> None:
    """Raises a ValueError where jax has no device of `platform`; starts jax."""
    import jax

    try:
        jax.devices(platform)
    except (RuntimeError, AssertionError) as error:  # as its platform is known to jax, or not
        raise ValueError(
            f"--platform={platform}: jax {jax.__version__} finds no such device"
            f"{f' ({error})' if str(error) else ''}; give cpu, or, where there is one, "
            f"pip install 'jax[{_EXTRAS.get(platform, platform)}]=={jax.__version__}'"
        ) from error


def describe(cores: list[int]) -> dict:
    """Returns what a reader of the numbers must know of the machine; starts jax."""
    import jax

    return {
        "devices": [device.device_kind for device in jax.local_devices()],
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_used": cores,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": os.getloadavg(),  # above the cores in use, others disturbed the run
        "system": platform.platform(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of what computes."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **packages}


def commit() -> str | None:
    """Returns the commit that was measured, marked where files differ from it, or none."""

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_model() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
