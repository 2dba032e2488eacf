"""Before a peer: what stops reading in the middle of an object and keeps the connection, as a hung PACS does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class StallingProxy:
    """Carries connections to a port of this machine; while `stalls`, no more than `after` bytes of each are read."""

    def __init__(self, port: int, *, after: int) -> None:
        self._to, self._after = port, after
        self.stalls = True
        self._over = threading.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []

    def __enter__(self) -> StallingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._over.set()
        for connection in [self._listener, *self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, outward: bool) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                carried += len(data)
                if outward and self.stalls and carried > self._after:
                    self._over.wait()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
