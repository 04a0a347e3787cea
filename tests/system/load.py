"""Sends queries on a schedule and counts how they end: answered, refused, reset, cut, not 200.

With --keep-alive it holds a few connections and asks over each in turn, as clients with a pool do:
one that the daemon closed, or said it would, is not used again. Without it every request has a
connection of its own. Nothing is tried twice. Prints one JSON object.

With --mix TAG it sends every kind of request, half of them over connections that are kept, and prints
each of them too, with the time at which it was due, on the clock that every process of the machine
shares (CLOCK_MONOTONIC). SIGTERM ends it early: what was sent is waited for.
"""

import argparse
import asyncio
import collections
import json
import signal
import ssl
import time

POOL = 8
TIMEOUT_S = 30
# Asked before the load begins, so that their embeddings are cached.
KNOWN = ("How do I upgrade the chart?", "What does a reload do?")


def mixed(tag, number):
    """The kind, path and body of request `number` of a mix: of twenty nine are known questions, two new
    ones, eight searches for words, one a document to store; each fiftieth asks for the health."""
    place = number % 20
    if number % 50 == 45:
        return "`/healthz`", "/healthz", None
    if place in (0, 10):
        return "new questions", "/v1/query", {"query": f"What is said of subject {number} of {tag}?"}
    if place % 2 == 0:
        return "word searches", "/v1/query", {"query": "upgrade", "mode": "text"}
    if place != 19:
        return "known questions", "/v1/query", {"query": KNOWN[number // 2 % 2]}
    content = f"# Note {number}\n\nWritten under the load {tag}.\n"
    return "writes", "/v1/documents", {"source": f"load/{tag}/{number}.md", "content": content}


class Client:
    """A pool of connections and the counts."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.idle = collections.deque()
        self.failed = collections.Counter()
        self.answered = 0
        self.slowest = 0.0
        self.replies = []
        self.stopped = False
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

    def request(self, number):
        """The kind of a request, whether its connection is kept, its head and its body."""
        if self.arguments.mix:
            kind, path, value = mixed(self.arguments.mix, number)
            keep = number // 20 % 2 == 0
        else:
            kind, path, value = "questions", "/v1/query", {"query": self.queries[number % len(self.queries)]}
            keep = self.arguments.keep_alive
        body = b"" if value is None else json.dumps(value).encode()
        head = f"{'GET' if value is None else 'POST'} {path} HTTP/1.1\r\nHost: localhost\r\n{self.key}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return kind, keep, (head + ("" if keep else "Connection: close\r\n") + "\r\n").encode() + body

    async def exchange(self, wish, request):
        """One request; answers its outcome: `200`, or the status with the kind of problem."""
        reader, writer = await (self.connection() if wish else self.connect())
        keep = False
        try:
            writer.write(request)
            await writer.drain()
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = answer.split(" ", 2)[1]
            length = next(int(line.split(":")[1]) for line in answer.split("\r\n")
                          if line.startswith("content-length:"))
            content = await reader.readexactly(length)
            keep = wish and "connection: close" not in answer
            if status == "200":
                return status
            waits = " without Retry-After" if status == "503" and "\nretry-after:" not in answer else ""
            return f"{status} `{json.loads(content).get('kind')}`{waits}"
        finally:
            if keep and len(self.idle) < POOL:
                self.idle.append((reader, writer))
            else:
                writer.close()

    async def one(self, number, due):
        kind, keep, request = self.request(number)
        begin = time.monotonic()
        try:
            outcome = await asyncio.wait_for(self.exchange(keep, request), TIMEOUT_S)
        except ConnectionRefusedError:
            outcome = "refused"
        except FileNotFoundError:
            outcome = "no socket"
        except (ConnectionResetError, BrokenPipeError):
            outcome = "reset"
        except asyncio.IncompleteReadError as error:
            outcome = "cut" if error.partial else "closed without an answer"
        except asyncio.TimeoutError:
            outcome = "timeout"
        ended = time.monotonic()
        self.slowest = max(self.slowest, ended - begin)
        if outcome == "200":
            self.answered += 1
        else:
            self.failed[f"status {outcome}" if outcome[0].isdigit() else outcome] += 1
        if self.arguments.mix:
            self.replies.append([number, kind, due, ended, outcome])

    def stop(self):
        self.stopped = True

    async def run(self):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop)
        begin = time.monotonic()
        tasks = set()
        count = int(self.arguments.seconds * self.arguments.rate)
        sent = 0
        for number in range(count):
            due = begin + number / self.arguments.rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            if self.stopped:
                break
            sent += 1
            task = asyncio.create_task(self.one(number, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        print(json.dumps({"sent": sent, "answered": self.answered, "failed": self.failed,
                          "slowest_ms": self.slowest * 1e3, "replies": self.replies}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--unix")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--keep-alive", action="store_true")
    parser.add_argument("--mix", metavar="TAG", help="every kind of request; the tag makes them differ")
    parser.add_argument("--key", help="an API key of the test")
    parser.add_argument("--ca-file", help="speaks TLS and trusts this certificate")
    asyncio.run(Client(parser.parse_args()).run())


if __name__ == "__main__":
    main()
