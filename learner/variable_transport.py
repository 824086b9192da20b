"""How bundles cross processes: two calls of gRPC that carry bytes and nothing else.

Nothing that a peer sends is ever made into an object: a request is a header of fixed length, a
reply is the serialised bundle, empty where there is none. Every call carries the run's token.
"""

import hmac
import ipaddress
import struct
import time
from collections.abc import Callable
from concurrent import futures

import grpc
from absl import logging

from learner import variables

LOOPBACK = "127.0.0.1"

_SERVICE = "gridracer.Variables"
_PUBLISH = struct.Struct("<q")  # version; the bundle follows
_NEWEST = struct.Struct("<qd")  # at least this version, within so many seconds

_DEADLINE_S = 10.0  # of a call, beyond what it waits for
_LONGEST_WAIT_S = 10.0  # that a caller may hold one of the server's threads
_RETRY_S = 0.2
_WARN_EVERY_S = 5
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_LARGEST_BYTES = 2**31 - 1  # of a message; gRPC has no larger ones
_SIZES = (
    ("grpc.max_send_message_length", _LARGEST_BYTES),
    ("grpc.max_receive_message_length", _LARGEST_BYTES),
)


class TransportError(RuntimeError):
    """The variable server cannot be started or refuses a call; the message says what to do."""


class Server:
    """Lets callers that know the token reach a `VariableServer`."""

    def __init__(
        self,
        variable_server: variables.VariableServer,
        host: str,
        port: int,
        token: str,
        callers: int,
    ):
        """Starts to serve.

        Args:
          variable_server: what is served.
          host: IP address to listen on.
          port: to listen on, 0 for any that is free.
          token: of the run; who does not send it is refused before their request is read.
          callers: how many may call at the same time.

        Raises:
          TransportError: the address cannot be listened on.
        """
        self._server = grpc.server(
            futures.ThreadPoolExecutor(2 * callers, "variables"),
            handlers=[_handlers(variable_server)],
            interceptors=[_TokenCheck(token)],
            # Without the first, another process could listen on the same port.
            options=[("grpc.so_reuseport", 0), *_SIZES],
        )
        try:
            self.port = self._server.add_insecure_port(_address(host, port))
        except RuntimeError as error:
            raise TransportError(
                f"--bind={host}: the variable server cannot listen on {_address(host, port)} "
                f"({error}); give an address of this machine"
            ) from error
        self._server.start()

    def stop(self) -> None:
        """Ends all calls and stops listening."""
        self._server.stop(grace=None).wait()


class Client:
    """Reaches the variable server of a run; as `learner.variables.Variables` may instead of it.

    The server may be busy or not there yet: a call that times out is repeated.
    """

    def __init__(self, host: str, port: int, token: str, stopping: Callable[[], bool]):
        """Takes where the server listens, the token of the run, and what says when to give up."""
        self._address = _address(_reachable(host), port)
        # A proxy is for the world outside, not for the processes of a run.
        quick = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
        channel = grpc.insecure_channel(self._address, [*quick, *_SIZES])
        self._publish = channel.unary_unary(f"/{_SERVICE}/publish")
        self._newest = channel.unary_unary(f"/{_SERVICE}/newest")
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._stopping = stopping

    def publish(self, message: bytes, version: int) -> None:
        """See `learner.variables.VariableServer.publish`."""
        self._repeat(self._publish, _PUBLISH.pack(version) + message, _DEADLINE_S)

    def newest(self, at_least: int, timeout_s: float) -> bytes | None:
        """See `learner.variables.VariableServer.newest`."""
        request = _NEWEST.pack(at_least, timeout_s)
        reply = self._repeat(self._newest, request, timeout_s + _DEADLINE_S)
        return reply or None

    def _repeat(self, call: grpc.UnaryUnaryMultiCallable, request: bytes, deadline_s: float):
        while not self._stopping():
            try:
                return call(request, timeout=deadline_s, metadata=self._metadata)
            except grpc.RpcError as error:
                if error.code() not in _TRANSIENT:
                    raise TransportError(
                        f"variable server at {self._address}: {error.code().name}: "
                        f"{error.details()}"
                    ) from error
                logging.log_every_n_seconds(
                    logging.WARNING, "variable server at %s: %s: %s; trying again", _WARN_EVERY_S,
                    self._address, error.code().name, error.details(),
                )  # fmt: skip
                time.sleep(_RETRY_S)
        return None


class _TokenCheck(grpc.ServerInterceptor):
    """Refuses calls without the token."""

    def __init__(self, token: str):
        self._expected = f"Bearer {token}".encode()
        # A handler of a stream, as gRPC reads nothing of a stream before the handler does.
        self._refusal = grpc.stream_unary_rpc_method_handler(_refuse)

    def intercept_service(self, continuation, handler_call_details):
        """Returns the handler of a call, or the one that refuses it."""
        metadata = dict(handler_call_details.invocation_metadata)
        token = str(metadata.get("authorization", "")).encode()
        if hmac.compare_digest(token, self._expected):
            return continuation(handler_call_details)
        return self._refusal


def _refuse(_, context):
    context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "the token of the run is missing or wrong; it is in the run's folder, in the file token",
    )


def _handlers(variable_server: variables.VariableServer) -> grpc.GenericRpcHandler:
    def publish(request: bytes, context) -> bytes:
        (version,) = _unpack(_PUBLISH, request, context)
        variable_server.publish(request[_PUBLISH.size :], version)
        return b""

    def newest(request: bytes, context) -> bytes:
        at_least, timeout_s = _unpack(_NEWEST, request, context)
        message = variable_server.newest(at_least, min(max(0.0, timeout_s), _LONGEST_WAIT_S))
        return message or b""

    methods = {"publish": publish, "newest": newest}
    return grpc.method_handlers_generic_handler(
        _SERVICE,
        {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()},
    )


def _unpack(header: struct.Struct, request: bytes, context) -> tuple:
    if len(request) < header.size:
        context.abort(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"a request of {len(request)} bytes; its header alone has {header.size}",
        )
    return header.unpack_from(request)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reachable(host: str) -> str:
    """Returns the address under which this machine reaches a server that listens on `host`."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return LOOPBACK if address.version == 4 else "::1"
