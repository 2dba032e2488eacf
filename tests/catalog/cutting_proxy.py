"""PostgreSQL behind a proxy that ends the connection at one chosen message of the server's."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import BinaryIO

_TERMINATED = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"


class CuttingProxy:
    """Passes on what server and clients say until the message number `cut`, counted over all connections.

    `last_word` is what the client gets before the end: nothing, the server's word that it was terminated in place of
    that message, or both.
    """

    def __init__(self, server: int, last_word: str) -> None:
        self._server, self._last_word = server, last_word
        self._messages, self.cut = 0, 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def messages(self) -> int:
        """How many the server has sent since it was told where to cut."""
        return self._messages

    def at(self, cut: int) -> None:
        """Count anew, and end the connection at this message."""
        self._messages, self.cut = 0, cut

    def close(self) -> None:
        self._door.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the door is closed
            while True:
                client, _ = self._door.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                for end in (client, server):  # many small messages: each would wait for the other side's word
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while asked := client.recv(65536):
                server.sendall(asked)
        _end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), server.makefile("rb") as answers:
            while message := _message(answers):
                self._messages += 1
                if self._messages == self.cut:
                    if self._last_word == "both":
                        client.sendall(message)
                    if self._last_word:
                        client.sendall(b"E" + struct.pack("!I", len(_TERMINATED) + 4) + _TERMINATED)
                    break
                client.sendall(message)
        _end(client, server)


def _message(answers: BinaryIO) -> bytes:
    """One message of the server's, head and all; empty at the end."""
    head = answers.read(5)
    return head + answers.read(struct.unpack("!I", head[1:])[0] - 4) if len(head) == 5 else b""


def _end(*sockets: socket.socket) -> None:
    for end in sockets:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
