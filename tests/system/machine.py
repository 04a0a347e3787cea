"""A Debian that boots its own systemd in systemd-nspawn, on a throw-away layer over a kept root."""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

CACHE = pathlib.Path("/var/cache/alfred/system")
CGROUPS = pathlib.Path("/sys/fs/cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failed(AssertionError):
    """What a scenario found wrong, or a command that failed."""


def wait_for(what, condition, seconds=20.0, pause=0.05):
    """Polls every `pause` s until `condition` returns something true, which it returns; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)


class Machine:
    """One booted system. `close` ends it and leaves nothing behind."""

    def __init__(self, base, binds=()):
        CACHE.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        # The folder's name may end in what no name of a machine may end in.
        self.name = f"alfred-run-{uuid.uuid4().hex[:8]}"
        self.root = self.folder / "root"
        self.binds = list(binds)
        self.process = None
        self.leader = None
        for part in ("root", "upper", "work"):
            (self.folder / part).mkdir()
        layers = f"lowerdir={base},upperdir={self.folder}/upper,workdir={self.folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)

    def boot(self, seconds=60.0):
        """Boots and waits until systemd has started everything."""
        environment = dict(os.environ)
        command = ["systemd-nspawn", "--quiet", "-D", str(self.root), "-M", self.name, "--boot"]
        command += ["--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        if not (CGROUPS / "cgroup.controllers").exists():
            environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "0"
            command.append("--setenv=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
        command += [f"--bind-ro={outside}:{inside}" for outside, inside in self.binds]
        with open(self.folder / "console.log", "ab") as console:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env=environment, start_new_session=True, preexec_fn=self._own_cgroup)
        self.leader = wait_for("the container starts", self._find_leader)
        wait_for("systemd has started", self._is_running, seconds)

    def _own_cgroup(self):
        """Gives the container a control group of its own, so that two never share one."""
        for hierarchy in [CGROUPS, *CGROUPS.glob("*")]:
            if (hierarchy / "cgroup.procs").exists() and not hierarchy.is_symlink():
                try:
                    own = hierarchy / self.name
                    own.mkdir(exist_ok=True)
                    if hierarchy.name == "cpuset":
                        for file in ("cpuset.cpus", "cpuset.mems"):
                            (own / file).write_text((hierarchy / file).read_text())
                    (own / "cgroup.procs").write_text("0")
                except OSError:
                    pass
                if hierarchy == CGROUPS:
                    return

    def _find_leader(self):
        """The process that is number 1 inside."""
        if self.process.poll() is not None:
            raise Failed("systemd-nspawn ended:\n" + self.console())
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            except OSError:
                continue
            inside = next(line for line in status.splitlines() if line.startswith("NSpid:"))
            name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            if inside.split()[-1] == "1" and len(inside.split()) > 2 and name == "systemd":
                return pid
            waiting.extend(int(child) for child in children.split())
        return None

    def _is_running(self):
        state = self.run("systemctl is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def console(self):
        """The end of what systemd printed at boot."""
        text = (self.folder / "console.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-20:])

    def enter(self, network_only=False):
        """The words that put a command into the container, or only into its network."""
        return ["nsenter", "-t", str(self.leader), "-n" if network_only else "-a", "--"]

    def run(self, command, check=True, user=None, seconds=120.0, stdin=None):
        """Runs a shell command inside. A user name runs it as that user, with its groups."""
        inside = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        inside += ["runuser", "-u", user, "--"] if user else []
        inside += ["sh", "-c", "cd / && " + command]
        result = subprocess.run(
            self.enter() + inside, capture_output=True, text=True, errors="replace",
            timeout=seconds, input=stdin, check=False)
        if check and result.returncode != 0:
            output = (result.stdout + result.stderr).strip()[-2000:]
            raise Failed(f"`{command}` ended with {result.returncode}:\n{output}")
        return result

    def out(self, command, **options):
        """What a command printed, without the white space around it."""
        return self.run(command, **options).stdout.strip()

    def start(self, command, network_only=False):
        """Starts a command that runs beside the scenario; with `network_only` it is one of the host
        that sees the container's network. It shares processor time with the container: a client that
        waits for its turn on a busy host would find the daemon slow."""
        words = command if network_only else ["sh", "-c", "cd / && " + command]
        return subprocess.Popen(
            self.enter(network_only) + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=self._own_cgroup)

    def file(self, path):
        """The place of a file of the container, from outside."""
        return pathlib.Path(f"/proc/{self.leader}/root") / path.lstrip("/")

    def write(self, path, text, mode=0o644):
        """Writes a file inside; folders as needed."""
        file = self.file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def append(self, path, text):
        """Adds to the end of a file inside."""
        self.run(f"cat >>{shlex.quote(path)}", stdin=text)

    def remove(self, *paths):
        """Removes files and folders inside."""
        self.run("rm -rf " + " ".join(shlex.quote(path) for path in paths))

    def kill(self):
        """Ends everything inside at once, as when the power goes."""
        if self.process is None:
            return
        if self.leader and self.process.poll() is None:
            os.kill(self.leader, signal.SIGKILL)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = self.leader = None

    def shut_down(self, seconds=90):
        """Ends everything inside as a person does who reboots: in order."""
        self.run("systemctl --no-block poweroff", check=False)
        self.process.wait(seconds)
        self.process = self.leader = None

    def close(self):
        """Ends the system and removes its layer."""
        self.kill()
        wait_for("the layer comes off", self._unmounted, 10)
        shutil.rmtree(self.folder, ignore_errors=True)
        for hierarchy in [CGROUPS, *CGROUPS.glob("*")]:
            own = hierarchy / self.name
            if own.is_dir():
                for group, _, _ in os.walk(own, topdown=False):
                    try:
                        os.rmdir(group)
                    except OSError:
                        pass

    def _unmounted(self):
        if not os.path.ismount(self.root):
            return True
        return subprocess.run(["umount", self.root], capture_output=True, check=False).returncode == 0


def processes(machine):
    """What /proc/PID/status says of each process inside, by its number outside."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            if os.stat(status.parent / "ns/pid").st_ino != os.stat(f"/proc/{machine.leader}/ns/pid").st_ino:
                continue
        except OSError:
            continue
        yield int(status.parent.name), dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def host_pid(machine, pid):
    """The number that a process inside has outside."""
    for outside, status in processes(machine):
        if status["NSpid"].split()[-1] == str(pid):
            return outside
    raise Failed(f"process {pid} is not there")


def named(machine, name):
    """The number outside of a process inside that has this name; `None` where there is none."""
    return next((outside for outside, status in processes(machine) if status["Name"] == name), None)
