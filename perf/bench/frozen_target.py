"""A server that answers every request after 5 ms, and may freeze once.

    frozen_target.py [FREEZE_AFTER_S FREEZE_S]

Prints its port. FREEZE_AFTER_S counts from the first request. Frozen, it does nothing at all; the
kernel goes on taking connections and bytes for it. On SIGTERM it prints its own times as JSON: from
the last byte of a request read to the reply handed over, in ms.
"""

import asyncio
import json
import signal
import sys
import time

ANSWER_S = 0.005
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Target(asyncio.Protocol):
    """One connection; pipelined requests are answered in turn."""

    freeze = None
    times = []

    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            length = 0
            if (at := head.find(b"content-length:")) >= 0:
                length = int(head[at + 15:].split(b"\r\n", 1)[0])
            if len(self.data) < end + 4 + length:
                return
            self.data = self.data[end + 4 + length:]
            self.answer()

    def answer(self):
        if Target.freeze is not None:
            after_s, for_s = Target.freeze
            Target.freeze = None
            asyncio.get_running_loop().call_later(after_s, time.sleep, for_s)
        asyncio.get_running_loop().call_later(ANSWER_S, self.reply, time.perf_counter())

    def reply(self, received):
        self.transport.write(REPLY)
        Target.times.append((time.perf_counter() - received) * 1e3)


async def main():
    if len(sys.argv) == 3:
        Target.freeze = float(sys.argv[1]), float(sys.argv[2])
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(Target, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    times = sorted(Target.times)
    p95 = times[int(len(times) * 0.95)] if times else None
    print(json.dumps({"requests": len(times), "p95_ms": p95}))


asyncio.run(main())
