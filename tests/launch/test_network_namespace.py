"""A run's own network: who may have one, what it holds, and what is said where there is none."""

import os
import pathlib
import subprocess
import sys

import pytest

from launch.host import network_namespace

ROOT = pathlib.Path(__file__).parents[2]
# Becomes somebody without rights, as most users are; root alone can. What is read from disk later
# may be root's alone, and so may be the folders around this one.
UNPRIVILEGED = """
import ctypes, encodings.idna
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: as it is for a process that began so
"""
ENTER = """
import os, socket
before = os.getuid(), os.getgid(), os.readlink('/proc/self/ns/net')
try:
    network_namespace.enter()
    assert os.readlink('/proc/self/ns/net') != before[2]
    assert [name for _, name in socket.if_nameindex()] == ['lo']
    with socket.create_server(('127.0.0.1', 0)) as server:
        socket.create_connection(server.getsockname(), 5.0).close()  # So it is up.
    print('entered')
except network_namespace.Refused as error:
    assert os.readlink('/proc/self/ns/net') == before[2]
    print('refused:', error)
assert (os.getuid(), os.getgid()) == before[:2]
open('file', 'w').close()
"""


def _python(program, tmp_path):
    tmp_path.chmod(0o777)
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "FOLDER": str(tmp_path)},
    )  # fmt: skip


@pytest.mark.parametrize("who", ["", UNPRIVILEGED], ids=["as we are", "without rights"])
def test_a_process_gets_a_network_of_its_own_or_stays_where_it_was(who, tmp_path):
    program = (
        "import os; from launch.host import network_namespace; os.chdir(os.environ['FOLDER'])"
        f"\n{who}\n{ENTER}"
    )
    done = _python(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "entered\n" or done.stdout.startswith("refused: "), done.stdout
    owner = 65534 if who and os.getuid() == 0 else os.getuid()
    assert (tmp_path / "file").stat().st_uid == owner
    if os.getuid() == 0 and not who:
        allowed = subprocess.run(["unshare", "--net", "true"], check=False).returncode == 0
        assert done.stdout == "entered\n" or not allowed


def test_a_process_with_threads_is_told_so():
    program = (
        "import threading; from launch.host import network_namespace as n\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "try: n.enter()\nexcept n.Refused as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "2 threads run already\n", done


def test_flags_are_read_and_a_placement_is_made_before_anything_starts_a_thread():
    program = (
        "import os; from launch import local, experiment_flags; from launch.host import placement\n"
        "from absl import flags; flags.FLAGS(['', '--config=case118'])\n"
        "experiment_flags.experiment(); placement.make('auto', 1, 1)\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "1\n", done


@pytest.mark.parametrize(
    ("choice", "platform", "bind", "reason"),
    [
        ("false", "cpu", "127.0.0.1", "--private_network=false"),
        ("auto", "tpu", "127.0.0.1", "libtpu asks this machine's metadata server"),
        ("auto", "cpu", "0.0.0.0", "--bind=0.0.0.0 is beyond loopback"),
        ("auto", "gpu", "::1", "this system refuses a private one: not allowed"),
    ],
)
def test_a_network_that_is_open_is_said_to_be_with_the_reason(
    monkeypatch, choice, platform, bind, reason
):
    def refuse():
        raise network_namespace.Refused("not allowed")

    monkeypatch.setattr(network_namespace, "enter", refuse)
    line = network_namespace.arrange(choice, platform, bind)
    assert line.startswith("open: Reverb's port") and f"({reason})" in line and "\n" not in line


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_a_private_network_that_was_demanded_and_cannot_be_had_is_an_error(monkeypatch, bind):
    def refuse():
        raise network_namespace.Refused("not allowed")

    monkeypatch.setattr(network_namespace, "enter", refuse)
    with pytest.raises(ValueError, match="--private_network=true: cannot be had"):
        network_namespace.arrange("true", "cpu", bind)


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        ("localhost", "--bind=localhost: not an IP address; give"),
        ("198.51.100.7", "--bind=198.51.100.7: cannot be used (Cannot assign requested address)"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_named(bind, message):
    with pytest.raises(ValueError) as refused:
        network_namespace.check_bind(bind)
    assert message in str(refused.value) and "0.0.0.0 or ::" in str(refused.value)


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_addresses_of_this_machine_are_accepted(bind):
    network_namespace.check_bind(bind)
