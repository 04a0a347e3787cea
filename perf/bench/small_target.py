"""What the small targets beside this file share: reading requests, the port on a line, the end on SIGTERM."""

import asyncio
import signal

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class SmallTarget(asyncio.Protocol):
    """One connection; `answer` is called for each request that is whole, pipelined ones in turn."""

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
        raise NotImplementedError


def serve(target):
    """Serves until SIGTERM on a port that it prints."""

    async def run():
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        server = await loop.create_server(target, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await stopped.wait()

    asyncio.run(run())
