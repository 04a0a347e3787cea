"""A PostgreSQL server of a benchmark's own. PG_BIN: the folder of its programs."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import common

BIN = pathlib.Path(os.environ["PG_BIN"])
NOBODY = 65534


class Server:
    """Runs while the `with` block does; as `nobody` when started by root, which it refuses to be."""

    def __init__(self, settings=()):
        self.settings = settings
        self.port = common.free_port()
        self.dsn = f"postgresql://alfred@127.0.0.1:{self.port}/postgres"

    def __enter__(self):
        # Where another user may come in, and on a real disk.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="alfred-pg-", dir="/var/tmp"))
        self.identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        if self.identity:
            os.chown(self.folder, NOBODY, NOBODY)
        subprocess.run([BIN / "initdb", "-D", self.folder / "data", "-U", "alfred", "-A", "trust"],
                       check=True, capture_output=True, cwd=self.folder, **self.identity)
        self.start()
        return self

    def start(self):
        options = [one for setting in self.settings for one in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder,
                 *options], stdout=log, stderr=log, cwd=self.folder, **self.identity)
        deadline = time.monotonic() + 30
        while subprocess.run([BIN / "pg_isready", "-q", "-d", self.dsn]).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                common.fail("PostgreSQL does not start", f"see {self.folder}/log")
            time.sleep(0.05)

    def psql(self, sql):
        """What `sql` prints, unaligned."""
        run = subprocess.run([BIN / "psql", self.dsn, "-XAtq", "-v", "ON_ERROR_STOP=1"], input=sql,
                             capture_output=True, text=True)
        if run.returncode != 0:
            common.fail(f"psql: {run.stderr.strip()}", f"the SQL was: {sql}")
        return run.stdout.strip()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
