"""The measuring part of durability.sh, which see. usage: durability.py WORK DOCUMENTS"""

import itertools
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import common

CALLS = "pwrite64,pwritev,write,writev,sendto,sendmsg,fsync,fdatasync"
START = re.compile(r"^(\d+)\s+(\w+)\((\d+)<([^>]*)>(.*)")
RESUMED = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>.*= (-?\d+)")
RESULT = re.compile(r"= (-?\d+)[^=]*$")


def events(lines):
    """What matters in a trace, in order: (kind, what). A call counts when it has ended; a reply
    when it begins."""
    open_calls = {}
    for line in lines:
        if begun := START.match(line):
            thread, call, _, file, rest = begun.groups()
            if '"HTTP/1.1 200' in rest:
                yield "reply", f"{call}({file}, HTTP/1.1 200 …)"
            if "<unfinished" in rest:
                open_calls[thread] = (call, file)
                continue
            result = RESULT.search(rest)
        elif ended := RESUMED.match(line):
            call, file = open_calls.pop(ended.group(1), (ended.group(2), ""))
            result = re.match(r"(-?\d+)", ended.group(3))
        else:
            continue
        name = pathlib.PurePath(file).name
        if "-wal" not in name or result is None or int(result.group(1)) < 0:
            continue
        if call.startswith("pwrite"):
            yield "write", f"{call}({name})"
        elif call in ("fsync", "fdatasync"):
            yield "sync", f"{call}({name})"


def replies(found):
    """For each reply the events since the one before."""
    since = []
    for event in found:
        since.append(event)
        if event[0] == "reply":
            yield since
            since = []


def is_durable(since):
    """Whether something was written to the log, and synced after the last write."""
    kinds = [kind for kind, _ in since]
    last_write = max((at for at, kind in enumerate(kinds) if kind == "write"), default=None)
    return last_write is not None and "sync" in kinds[last_write:]


def traced(daemon, trace, documents):
    """Posts documents while strace writes what the daemon does."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "48", "-e", f"trace={CALLS}", "-o", trace, "-p", str(daemon.pid)],
        stderr=subprocess.PIPE, text=True)
    try:
        line = tracer.stderr.readline()
        if "attached" not in line:
            common.fail(f"strace: {line.strip()}", "run as root, or with kernel.yama.ptrace_scope=0")
        for number in range(documents):
            body = {"source": f"durable/{number}.txt", "content": f"Document {number} must survive."}
            status, reply = daemon.request("POST", "/v1/documents", body)
            if status != 200 or reply["documents"][0]["status"] != "created":
                common.fail(f"POST /v1/documents: {status} {reply}", "see the daemon's log")
        time.sleep(0.2)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30)


def main():
    work, documents = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    trace = work / "strace.txt"
    shutil.rmtree(work / "durable-store", ignore_errors=True)
    with common.Daemon(work / "durable-store", work / "durability.log") as daemon:
        traced(daemon, trace, documents)
    found = list(replies(events(trace.read_text().splitlines())))
    if len(found) != documents:
        common.fail(f"{len(found)} replies in the trace for {documents} documents", f"see {trace}")
    print("the last document:")
    for (kind, what), repeats in itertools.groupby(found[-1]):
        print(f"  {len(list(repeats)):3} × {kind:6} {what}")
    durable = sum(map(is_durable, found))
    unsynced = [[event for event in since if event[0] != "sync"] for since in found]
    if any(map(is_durable, unsynced)):
        common.fail("the check passes a trace without any sync", "it proves nothing; mend it")
    print(f"{durable} of {documents} replies came after the sync of what they acknowledge")
    common.finish("durability", {"documents": documents, "synced_before_reply": durable},
                  [("replies after the sync", durable, ">=", documents)])


if __name__ == "__main__":
    main()
