"""A private network for the processes of a run: a Linux namespace with nothing but loopback.

Reverb's server listens on every address of its network and asks nobody who they are. In a network
of its own nobody else can reach it. Root may make one; others may where the system lets them make
a user namespace, in which they stay who they are. It ends with the last process in it.
"""

import ctypes
import fcntl
import ipaddress
import os
import pathlib
import socket
import struct

CHOICES = ("auto", "true", "false")  # of --private_network

_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914  # linux/sockios.h
_IFF_UP_RUNNING = 0x1 | 0x40  # linux/if.h
_WAYS = (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)  # root's, everybody else's


class Refused(RuntimeError):
    """The system does not let this process have a network of its own; the message says why."""


def check_bind(bind: str) -> None:
    """Makes sure that this machine can listen on the IP address `bind`.

    Raises:
      ValueError: it cannot; the message says what it accepts.
    """
    accepted = "give an IP address of this machine, or 0.0.0.0 or :: for all of them"
    try:
        family = socket.AF_INET if ipaddress.ip_address(bind).version == 4 else socket.AF_INET6
    except ValueError:
        raise ValueError(f"--bind={bind}: not an IP address; {accepted}") from None
    try:
        with socket.socket(family) as any_socket:
            any_socket.bind((bind, 0))
    except OSError as error:
        raise ValueError(f"--bind={bind}: cannot be used ({error.strerror}); {accepted}") from error


def arrange(choice: str, platform: str, bind: str) -> str:
    """Enters a private network where `choice` and the system let it; returns a line that says so.

    The learner runs on `platform`, and the variable server is to listen on the address `bind`.

    Raises:
      ValueError: `choice` is true, and it cannot be had.
    """
    reason = None
    if choice == "false":
        reason = "--private_network=false"
    elif not ipaddress.ip_address(bind).is_loopback:
        reason = f"--bind={bind} is beyond loopback"
    elif choice == "auto" and platform == "tpu":
        reason = "libtpu asks this machine's metadata server"
    else:
        try:
            enter()
        except Refused as error:
            reason = f"this system refuses a private one: {error}"
    if reason is None:
        return "private: nothing outside the run can reach its ports"
    if choice == "true":
        raise ValueError(
            f"--private_network=true: cannot be had ({reason}); change that, or give "
            "--private_network=auto"
        )
    return f"open: Reverb's port listens on every address of this machine ({reason}); see BUILD.md"


def enter() -> None:
    """Moves this process, and those that it starts from now on, into a network of their own.

    Call it before anything starts a thread: the system lets no process with threads into a user
    namespace, and moves only the thread that asks into a network.

    Raises:
      Refused: it cannot be had; this process is where it was.
    """
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise Refused(f"{threads} threads run already")
    errors = []
    for flags in _WAYS:
        error = _try_in_a_child(flags)  # What fails halfway could not be undone here.
        if not error:
            _enter(flags)
            return
        errors.append(os.strerror(error))
    raise Refused(errors[-1])


def _try_in_a_child(flags: int) -> int:
    """Returns the error number of entering with `flags`, 0 where it works."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    error = 255
    try:
        _enter(flags)
        error = 0
    except OSError as refusal:
        error = refusal.errno
    finally:
        os._exit(error)


def _enter(flags: int) -> None:
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if flags & _CLONE_NEWUSER:
        # Who owns a file stays who they are. The system wants groups fixed before it maps one.
        process = pathlib.Path("/proc/self")
        (process / "uid_map").write_text(f"{user} {user} 1")
        (process / "setgroups").write_text("deny")
        (process / "gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", _IFF_UP_RUNNING)  # struct ifreq
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
