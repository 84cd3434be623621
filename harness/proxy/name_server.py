"""The lab's name server, which clients query for the addresses of the replicas, or of a proxy's nodes."""

import socket
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

NAME = "replicas.lab"
MAX_QUERY_BYTES = 4096


class NameServer(AbstractContextManager["NameServer"]):
    """Answers queries for the addresses of `name` on a UDP port of `host`, in its own thread.

    An answer lists the addresses in the order in which they were published. Clients may not cache it (TTL 0).
    Any other name does not exist (NXDOMAIN). Source: RFC 1035.
    """

    def __init__(self, host: str = "127.0.0.1", name: str = NAME) -> None:
        self._name = name
        self.queries = 0
        self._addresses: tuple[str, ...] = ()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="name-server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The server's own address, "HOST:PORT"."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def publish(self, addresses: Sequence[str]) -> None:
        """Make `addresses` ("a.b.c.d" each) the IPv4 addresses of the name from now on."""
        self._addresses = tuple(addresses)

    def close(self) -> None:
        """Stop the server and release its port."""
        if not self._closed:
            self._closed = True
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", self._socket.getsockname())
            self._thread.join()
            self._socket.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(MAX_QUERY_BYTES)
            if self._closed:
                return
            with suppress(dns.exception.DNSException):  # a datagram that is not a DNS query gets no answer
                response = self._response(dns.message.from_wire(data)).to_wire()
                self.queries += 1
                self._socket.sendto(response, peer)

    def _response(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        for question in query.question:
            if question.name.to_text(omit_final_dot=True).lower() != self._name:
                response.set_rcode(dns.rcode.NXDOMAIN)
            elif question.rdtype == dns.rdatatype.A:
                # One record set for each address, because dnspython shuffles the records of a set.
                response.answer += [
                    dns.rrset.from_text(question.name, 0, dns.rdataclass.IN, dns.rdatatype.A, address)
                    for address in self._addresses
                ]
        return response
