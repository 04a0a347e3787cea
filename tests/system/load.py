"""Sends queries on a schedule and counts how they end: answered, refused, reset, cut, not 200.

With --keep-alive it holds a few connections and asks over each in turn, as clients with a pool do:
one that the daemon closed, or said it would, is not used again. Without it every request has a
connection of its own. Nothing is tried twice. Prints one JSON object.
"""

import argparse
import asyncio
import collections
import json
import ssl
import time

POOL = 8
TIMEOUT_S = 30


class Client:
    """A pool of connections and the counts."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.idle = collections.deque()
        self.failed = collections.Counter()
        self.answered = 0
        self.slowest = 0.0
        self.tls = ssl.create_default_context(cafile=arguments.ca_file) if arguments.ca_file else None
        self.key = f"Authorization: Bearer {arguments.key}\r\n" if arguments.key else ""
        with open(arguments.queries, encoding="utf-8") as file:
            self.queries = [line.strip() for line in file if line.strip()]

    async def connect(self):
        if self.arguments.unix:
            return await asyncio.open_unix_connection(self.arguments.unix)
        return await asyncio.open_connection("127.0.0.1", self.arguments.port, ssl=self.tls)

    async def connection(self):
        while self.idle:
            reader, writer = self.idle.popleft()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await self.connect()

    async def exchange(self, number):
        """One request; answers what went wrong, or nothing."""
        body = json.dumps({"query": self.queries[number % len(self.queries)]}).encode()
        close = not self.arguments.keep_alive
        head = (f"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{self.key}" + ("Connection: close\r\n" if close else "") + "\r\n")
        reader, writer = await self.connection()
        keep = False
        try:
            writer.write(head.encode() + body)
            await writer.drain()
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = answer.split(" ", 2)[1]
            length = next(int(line.split(":")[1]) for line in answer.split("\r\n")
                          if line.startswith("content-length:"))
            content = await reader.readexactly(length)
            keep = not close and "connection: close" not in answer
            return None if status == "200" else f"status {status} {json.loads(content).get('kind')}"
        finally:
            if keep and len(self.idle) < POOL:
                self.idle.append((reader, writer))
            else:
                writer.close()

    async def one(self, number):
        begin = time.monotonic()
        try:
            problem = await asyncio.wait_for(self.exchange(number), TIMEOUT_S)
        except ConnectionRefusedError:
            problem = "refused"
        except FileNotFoundError:
            problem = "no socket"
        except (ConnectionResetError, BrokenPipeError):
            problem = "reset"
        except asyncio.IncompleteReadError as error:
            problem = "cut" if error.partial else "closed without an answer"
        except asyncio.TimeoutError:
            problem = "timeout"
        self.slowest = max(self.slowest, time.monotonic() - begin)
        if problem:
            self.failed[problem] += 1
        else:
            self.answered += 1

    async def run(self):
        begin = time.monotonic()
        tasks = set()
        count = int(self.arguments.seconds * self.arguments.rate)
        for number in range(count):
            await asyncio.sleep(max(0, begin + number / self.arguments.rate - time.monotonic()))
            task = asyncio.create_task(self.one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        print(json.dumps({"sent": count, "answered": self.answered, "failed": self.failed,
                          "slowest_ms": self.slowest * 1e3}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--unix")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--keep-alive", action="store_true")
    parser.add_argument("--key", help="an API key of the test")
    parser.add_argument("--ca-file", help="speaks TLS and trusts this certificate")
    asyncio.run(Client(parser.parse_args()).run())


main()
