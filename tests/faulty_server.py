"""A server on loopback of whose answers some go wrong, to order or at random: what the servers of the tests share."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

from loopback_server import LoopbackServer


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Clients hang up; that is what they are tested for."""


@dataclass
class FaultyServer(LoopbackServer):
    """Serves with what a subclass gives as `handler`, of `FaultyHandler`.

    Attributes:
        fault_rate: share of the requests that go wrong, in a way drawn from `fault_kinds`.
        stall: s that a stalled answer takes.
        retry_after: s, of 429.
        plan: service -> faults of its next requests, in order ("" for none); then `fault_rate` decides.
        headers: of all requests.
        faults: (service, fault) that were made.
    """

    server_class = _QuietServer
    fault_kinds: ClassVar[tuple[str, ...]]

    seed: int = 0
    fault_rate: float = 0.0
    stall: float = 1.0
    retry_after: str = "0"
    plan: dict[str, list[str]] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._random, self._lock = random.Random(self.seed), threading.Lock()
        return super().__enter__()

    def next_fault(self, service: str) -> str:
        with self._lock:
            if self.plan.get(service):
                fault = self.plan[service].pop(0)
            else:
                fault = self._random.choice(self.fault_kinds) if self._random.random() < self.fault_rate else ""
            if fault:
                self.faults.append((service, fault))
            return fault


class FaultyHandler(BaseHTTPRequestHandler):
    """Answers, half of them where the fault says so."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a head and a body are two packets: it would wait 40 ms between them
    stall = 1.0

    def log_message(self, *args: Any) -> None:
        pass

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, fault: str = "") -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault in ("truncated", "stall"):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                if fault == "stall":
                    time.sleep(self.stall)
                self.close_connection = True
            else:
                self.wfile.write(body)
        except OSError:  # the client was killed, or has hung up
            self.close_connection = True
