"""The variable server: the newest bundle, for whoever asks."""

import threading

import flax.serialization

from agents import bundle as bundle_lib, networks as networks_lib


class VariableServer:
    """Holds the newest bundle, serialised once for all readers."""

    def __init__(self):
        self._condition = threading.Condition()
        self._message: bytes | None = None
        self._version = -1

    def publish(self, message: bytes, version: int) -> None:
        """Replaces the bundle."""
        with self._condition:
            self._message, self._version = message, version
            self._condition.notify_all()

    def newest(self, at_least: int, timeout_s: float) -> bytes | None:
        """Returns the newest bundle, or nothing if none of that version comes in time."""
        with self._condition:
            self._condition.wait_for(lambda: self._version >= at_least, timeout_s)
            return self._message if self._version >= at_least else None


class Variables:
    """Bundles by way of a variable server, or of a `variable_transport.Client` that reaches one."""

    def __init__(self, server: VariableServer, networks: networks_lib.TeamNetworks):
        self._server, self._like = server, bundle_lib.blank(networks)

    def publish(self, bundle: bundle_lib.Bundle) -> None:
        """Hands a bundle of host arrays to the server."""
        self._server.publish(flax.serialization.to_bytes(bundle), int(bundle.version))

    def newest(self, at_least: int, timeout_s: float = 0.0) -> bundle_lib.Bundle | None:
        """Returns the newest bundle, or nothing if no version `at_least` comes in time."""
        message = self._server.newest(at_least, timeout_s)
        return None if message is None else flax.serialization.from_bytes(self._like, message)
