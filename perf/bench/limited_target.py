"""A server that is limited to a known rate.

    limited_target.py queue|refuse PER_S

`queue`: takes one request after the other, 1/PER_S s for each, however many wait. `refuse`: answers at
once, PER_S a second and 20 in a burst, and 503 beyond. Prints its port; ends on SIGTERM.
"""

import asyncio
import signal
import sys
import time

BURST = 20
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Target(asyncio.Protocol):
    """One connection."""

    queues = True
    each_s = 0.0
    # When what was taken in so far is done.
    free = 0.0

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
        now = time.monotonic()
        begins = max(now, Target.free)
        if not Target.queues and begins - now > BURST * Target.each_s:
            self.transport.write(REFUSED)
            return
        Target.free = begins + Target.each_s
        if Target.queues:
            asyncio.get_running_loop().call_later(Target.free - now, self.transport.write, OK)
        else:
            self.transport.write(OK)


async def main():
    Target.queues, Target.each_s = sys.argv[1] == "queue", 1 / float(sys.argv[2])
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(Target, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()


asyncio.run(main())
