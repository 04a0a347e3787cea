"""A server that answers every request after 5 ms, and may freeze once.

    frozen_target.py [FREEZE_AFTER_S FREEZE_S]

Prints its port. FREEZE_AFTER_S counts from the first request. Frozen, it does nothing at all; the
kernel goes on taking connections and bytes for it. On SIGTERM it prints its own times as JSON: from
the last byte of a request read to the reply handed over, in ms.
"""

import asyncio
import json
import sys
import time

from small_target import OK, SmallTarget, serve

ANSWER_S = 0.005


class Frozen(SmallTarget):
    freeze = None
    times = []

    def answer(self):
        if Frozen.freeze is not None:
            after_s, for_s = Frozen.freeze
            Frozen.freeze = None
            asyncio.get_running_loop().call_later(after_s, time.sleep, for_s)
        asyncio.get_running_loop().call_later(ANSWER_S, self.reply, time.perf_counter())

    def reply(self, received):
        self.transport.write(OK)
        Frozen.times.append((time.perf_counter() - received) * 1e3)


if len(sys.argv) == 3:
    Frozen.freeze = float(sys.argv[1]), float(sys.argv[2])
serve(Frozen)
times = sorted(Frozen.times)
p95 = times[int(len(times) * 0.95)] if times else None
print(json.dumps({"requests": len(times), "p95_ms": p95}))
