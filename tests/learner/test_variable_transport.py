"""The variable server's transport: bytes only, on loopback unless told otherwise, with a token."""

import json
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import time

import grpc
import pytest

from learner import variable_transport, variables

ROOT = pathlib.Path(__file__).parents[2]
TOKEN = "0123456789abcdef"

# In a network of its own, this machine gets a second address, 198.51.100.1 (TEST-NET-2, RFC 5737).
# Where the system allows no such network, the address is one that the machine has.
FROM_ANOTHER_ADDRESS = """
import fcntl, json, socket, struct, sys
import grpc, psutil
from launch.host import network_namespace

def second_address():
    try:
        network_namespace.enter()
    except network_namespace.Refused:
        for addresses in psutil.net_if_addrs().values():
            for address in addresses:
                if address.family == socket.AF_INET and not address.address.startswith('127.'):
                    return address.address
        sys.exit('no network of its own, and no address but loopback: nothing can be tested here')
    address = '198.51.100.1'
    inet = struct.pack('HH4s8x', socket.AF_INET, 0, socket.inet_aton(address))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8916, struct.pack('16s16s8x', b'lo:1', inet))  # SIOCSIFADDR
    return address

def connect(host, port):
    try:
        with socket.create_connection((host, port), 5.0, source_address=(SECOND, 0)):
            return 'connected'
    except OSError as error:
        return type(error).__name__

def call(host, port, token):
    client = variable_transport.Client(host, port, token, lambda: False)
    try:
        return client.newest(0, 0.0).decode()
    except variable_transport.TransportError as error:
        return str(error)

SECOND = second_address()
from learner import variable_transport, variables  # They start threads.

held = variables.VariableServer()
held.publish(b'bundle', 3)
serve = lambda host: variable_transport.Server(held, host, 0, 'right', 2)
loopback, everywhere = serve(variable_transport.LOOPBACK), serve('0.0.0.0')
print(json.dumps({
    'by default': connect(SECOND, loopback.port),
    'on every address': connect(SECOND, everywhere.port),
    'right token': call(SECOND, everywhere.port, 'right'),
    'wrong token': call(SECOND, everywhere.port, 'wrong'),
}))
loopback.stop()
everywhere.stop()
"""


@pytest.fixture
def held():
    return variables.VariableServer()


@pytest.fixture
def server(held):
    server = variable_transport.Server(held, variable_transport.LOOPBACK, 0, TOKEN, 3)
    yield server
    server.stop()


def client_of(server, token=TOKEN, stopping=lambda: False):
    return variable_transport.Client(variable_transport.LOOPBACK, server.port, token, stopping)


def test_another_address_is_refused_by_default_and_needs_the_token_beyond_loopback():
    done = subprocess.run(
        [sys.executable, "-c", FROM_ANOTHER_ADDRESS], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["by default"] == "ConnectionRefusedError"
    assert seen["on every address"] == "connected" and seen["right token"] == "bundle"
    assert "UNAUTHENTICATED" in seen["wrong token"] and "file token" in seen["wrong token"]


@pytest.mark.parametrize("metadata", [None, (("authorization", "Bearer wrong"),),
                                      (("authorization", TOKEN),)])  # fmt: skip
def test_a_call_without_the_token_changes_nothing(server, held, metadata):
    with grpc.insecure_channel(f"localhost:{server.port}") as channel:
        publish = channel.unary_unary("/gridracer.Variables/publish")
        with pytest.raises(grpc.RpcError) as refused:
            publish(bytes(8) + b"poison", timeout=10, metadata=metadata)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert held.newest(-1, 0.0) is None


def test_a_pickled_object_is_not_rebuilt(server, held, tmp_path):
    class Command:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    pickled = pickle.dumps(Command())
    with grpc.insecure_channel(f"localhost:{server.port}") as channel:
        for method in ("publish", "newest"):
            call = channel.unary_unary(f"/gridracer.Variables/{method}")
            call(pickled, timeout=10, metadata=(("authorization", f"Bearer {TOKEN}"),))
    client_of(server).publish(pickled, 7)
    assert client_of(server).newest(7, 1.0) == pickled == held.newest(7, 0.0)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickled)  # What would have run it.
    assert (tmp_path / "ran").exists()


def test_bundles_larger_than_grpc_allows_by_default_arrive_unchanged(server):
    message = os.urandom(6 * 2**20)
    client = client_of(server)
    assert client.newest(0, 0.0) is None
    client.publish(message, 4)
    assert client.newest(4, 0.0) == message
    assert client.newest(5, 0.1) is None


def test_a_reader_waits_for_the_version_that_it_needs(server):
    client = client_of(server)
    threading.Timer(0.3, lambda: client.publish(b"two", 2)).start()
    assert client_of(server).newest(2, 10.0) == b"two"


def test_a_request_shorter_than_its_header_is_an_error(server):
    with grpc.insecure_channel(f"localhost:{server.port}") as channel:
        newest = channel.unary_unary("/gridracer.Variables/newest")
        with pytest.raises(grpc.RpcError, match="a request of 3 bytes; its header alone has 16"):
            newest(b"abc", timeout=10, metadata=(("authorization", f"Bearer {TOKEN}"),))


def test_a_client_waits_for_a_server_that_is_not_there_yet_and_stops_when_told(server, held):
    port = server.port
    client = client_of(server)
    server.stop()
    later = []
    start = lambda: later.append(
        variable_transport.Server(held, variable_transport.LOOPBACK, port, TOKEN, 3)
    )
    threading.Timer(1.0, start).start()
    client.publish(b"one", 1)
    assert held.newest(1, 0.0) == b"one"
    later[0].stop()
    stop_at = time.monotonic() + 0.5
    gone = client_of(server, stopping=lambda: time.monotonic() > stop_at)
    assert gone.newest(0, 0.0) is None
    assert time.monotonic() < stop_at + 10.0


def test_a_port_that_is_taken_is_named(server, held):
    with pytest.raises(variable_transport.TransportError, match=f"127.0.0.1:{server.port}"):
        variable_transport.Server(held, variable_transport.LOOPBACK, server.port, TOKEN, 3)
