"""A server that is limited to a known rate.

    limited_target.py queue|refuse PER_S

`queue`: takes one request after the other, 1/PER_S s for each, however many wait. `refuse`: answers at
once, PER_S a second and 20 in a burst, and 503 beyond. Prints its port; ends on SIGTERM.
"""

import asyncio
import sys
import time

from small_target import OK, SmallTarget, serve

BURST = 20
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Limited(SmallTarget):
    queues = True
    each_s = 0.0
    # When what was taken in so far is done.
    free = 0.0

    def answer(self):
        now = time.monotonic()
        begins = max(now, Limited.free)
        if not Limited.queues and begins - now > BURST * Limited.each_s:
            self.transport.write(REFUSED)
            return
        Limited.free = begins + Limited.each_s
        if Limited.queues:
            asyncio.get_running_loop().call_later(Limited.free - now, self.transport.write, OK)
        else:
            self.transport.write(OK)


Limited.queues, Limited.each_s = sys.argv[1] == "queue", 1 / float(sys.argv[2])
serve(Limited)
