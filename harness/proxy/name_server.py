"""The lab's name server: what direct clients with discovery by DNS ask for the replicas' addresses."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

NAME = "replicas.lab"
LARGEST_QUESTION_BYTES = 4096


class NameServer:
    """Answers questions for the addresses of NAME, on a UDP port of `host`, in a thread of its own.

    Answers have the order in which addresses were published, and may not be kept (TTL 0). Any other name does
    not exist (NXDOMAIN). Source: RFC 1035.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.queries = 0
        self._addresses: tuple[str, ...] = ()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="name-server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it is asked: "HOST:PORT"."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def publish(self, addresses: Sequence[str]) -> None:
        """From now on NAME has these IPv4 addresses ("a.b.c.d")."""
        self._addresses = tuple(addresses)

    def close(self) -> None:
        """Stop answering, and give the port back."""
        if not self._closed:
            self._closed = True
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", self._socket.getsockname())
            self._thread.join()
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(LARGEST_QUESTION_BYTES)
            if self._closed:
                return
            with suppress(dns.exception.DNSException):  # what is no question gets no answer
                answer = self._answer(dns.message.from_wire(data)).to_wire()
                self.queries += 1
                self._socket.sendto(answer, peer)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA
        for asked in question.question:
            if asked.name.to_text(omit_final_dot=True).lower() != NAME:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif asked.rdtype == dns.rdatatype.A:
                # Each in a set of its own: dnspython shuffles a set.
                answer.answer += [
                    dns.rrset.from_text(asked.name, 0, dns.rdataclass.IN, dns.rdatatype.A, address)
                    for address in self._addresses
                ]
        return answer
