"""A server that answers each request after a fixed time, however many are open.

    fixed_target.py MILLISECONDS

Prints its port; ends on SIGTERM.
"""

import asyncio
import sys

from small_target import OK, SmallTarget, serve


class Fixed(SmallTarget):
    after_s = 0.0

    def answer(self):
        asyncio.get_running_loop().call_later(self.after_s, self.transport.write, OK)


Fixed.after_s = float(sys.argv[1]) / 1000
serve(Fixed)
