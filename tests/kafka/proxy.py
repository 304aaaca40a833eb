"""A TCP proxy that breaks connections, or slows them down, on request."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, suppress


class Proxy:
    """Passes bytes between its own port and a target, and can close connections in the middle of an answer.

    After `cut`, the next ``cuts`` connections are closed when each has passed ``after_bytes`` bytes to the client.

    Attributes
    ----------
    bytes_per_s : that a connection passes to the target; 0: as fast as it can
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.cuts_left, self.after_bytes = 0, 0
        self.bytes_per_s = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self, cuts: int, after_bytes: int) -> None:
        self.cuts_left, self.after_bytes = cuts, after_bytes

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._pass, args=(client, there), daemon=True).start()
            threading.Thread(target=self._pass, args=(there, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_down: bool = False) -> None:
        passed = 0
        with closing(source), closing(sink), suppress(OSError):
            while piece := source.recv(65_536):
                sink.sendall(piece)
                passed += len(piece)
                if self.bytes_per_s and not is_down:
                    time.sleep(len(piece) / self.bytes_per_s)
                if is_down and self.cuts_left and passed >= self.after_bytes:
                    self.cuts_left -= 1
                    sink.shutdown(socket.SHUT_RDWR)
                    return
            sink.shutdown(socket.SHUT_RDWR)
