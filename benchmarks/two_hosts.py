"""A search over two hosts with a network of their own between them and no file system in common; one is cut off, then dies.

    sudo python benchmarks/two_hosts.py [--trials 100] [--cut 60]

The hosts are network namespaces of this machine (iproute2), each with its own host name, processes and temporary folder;
the second cannot see the study. Ray is started by hand in each, and started again in the second when it ends, as an init
system does. The search runs on the first. Once two trials have ended, the second is cut off for a minute; two trials
after it is back, everything on it is killed. Lost and wrong are as in `faults.py`.
"""  # noqa: E501

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fault_injection.arena import Arena, Run
from fault_injection.ledger import Ledger
from networks import machine_line

NAMES = ("ac-first", "ac-second")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 6399
RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--block", "--disable-usage-stats")
LONG_S = 900.0


def say(line: str) -> None:
    """Print a line with the time."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


def ip(*words: str, check: bool = True) -> None:
    """Run iproute2."""
    subprocess.run(["ip", *words], check=check, capture_output=not check)


@contextmanager
def network() -> Iterator[None]:
    """Make two network namespaces with a cable between them."""
    try:
        for name in NAMES:
            ip("netns", "add", name)
        ip("link", "add", "first", "netns", NAMES[0], "type", "veth", "peer", "name", "second", "netns", NAMES[1])
        for name, device, address in zip(NAMES, ("first", "second"), ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in NAMES:
            ip("netns", "del", name, check=False)


@dataclass(frozen=True)
class Host:
    """A host: what runs on it ends with its first process.

    Attributes:
        number: 0 or 1.
        first: Its first process.
    """

    number: int
    first: subprocess.Popen[bytes]

    @classmethod
    def start(cls, number: int, hidden: Path | None) -> Host:
        """Start Ray on a host of its own; `hidden` is a folder that it cannot see."""
        head = ("--head", f"--port={PORT}", "--include-dashboard=false")
        where = head if number == 0 else (f"--address={ADDRESSES[0]}:{PORT}",)
        ray = " ".join((*RAY, *where, f"--node-ip-address={ADDRESSES[number]}"))
        hide = "" if hidden is None else f"mount -t tmpfs none {hidden};"
        script = f"hostname {NAMES[number]}; mount -t tmpfs none /tmp; {hide} cd /; while true; do {ray}; sleep 1; done"
        apart = ("unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
        words = ["ip", "netns", "exec", NAMES[number], *apart, "bash", "-c", script]
        quiet = subprocess.DEVNULL
        return cls(number, subprocess.Popen(words, stdout=quiet, stderr=quiet, start_new_session=True))

    @property
    def inside(self) -> int:
        """Number of the process that all others on it descend from, waiting until it is there."""
        while self.first.poll() is None:
            for path in Path("/proc").glob("[0-9]*/stat"):
                try:
                    parent = int(path.read_text().rpartition(")")[2].split()[1])
                    if parent == self.first.pid and "bash" in (path.parent / "comm").read_text():
                        return int(path.parent.name)
                except (OSError, ValueError):
                    continue
            time.sleep(0.1)
        raise SystemExit(f"two_hosts.py: {NAMES[self.number]} ended by itself: may namespaces be made here?")

    def enter(self) -> tuple[str, ...]:
        """Return what a command starts with that is to run there."""
        return "nsenter", "-t", str(self.inside), "-m", "-u", "-n", "-p"

    def kill(self) -> None:
        """End everything on it at once."""
        if self.first.poll() is None:
            subprocess.run(["kill", "-9", str(self.inside)], check=False)
        self.first.kill()
        self.first.wait()


def search(arena: Arena, host: Host, trials: int) -> Run:
    """Start the search on the first host, once Ray answers there."""
    words = [sys.executable, "-P", "-m", "autocompress", "search", arena.folder / "faulty.toml", "--quiet"]
    words += ["--trials", trials, "--runs", arena.runs, "--address", f"{ADDRESSES[0]}:{PORT}", "--cpus-per-job", 1]
    status = [*host.enter(), sys.executable, "-m", "ray.scripts.scripts", "status", "--address", words[-3]]
    end_s = time.monotonic() + 120
    while subprocess.run(status, capture_output=True, check=False).returncode:
        if time.monotonic() > end_s:
            raise SystemExit("two_hosts.py: Ray did not start within two minutes")
        time.sleep(2)
    own = {"AUTOCOMPRESS_CACHE": str(arena.folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*host.enter(), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=arena.folder, env={**os.environ, **own}, start_new_session=True,
    )  # fmt: skip
    return Run(process)


def main() -> None:
    """Search, cut a cable, kill a host, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--cut", type=float, default=60.0, help="Seconds without a network.")
    parser.add_argument("--folder", type=Path, help="Where the study lies; a temporary folder if not given.")
    options = parser.parse_args()
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        sys.exit("two_hosts.py: namespaces need root, iproute2 and util-linux; run it as root where they are")
    print(machine_line(), flush=True)
    os.environ["RAY_AUTH_MODE"] = "disabled"  # a token of this user's would be asked for on one side of the cable alone
    # not below /tmp, which is each host's own
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="two-hosts-", dir=Path.cwd()))).resolve()
    arena = Arena.make(folder)
    with network():
        first, second = Host.start(0, None), Host.start(1, folder)
        try:
            run = search(arena, first, options.trials)
            run.wait(lambda: len(run.reported()) >= 2, LONG_S)
            say(f"the second host is cut off for {options.cut:.0f} s, after {len(run.reported())} trials")
            ip("-n", NAMES[1], "link", "set", "second", "down")
            run.wait(lambda: False, options.cut)
            ip("-n", NAMES[1], "link", "set", "second", "up")
            so_far = len(run.reported())
            say(f"it is back, after {so_far} trials")
            run.wait(lambda: len(run.reported()) >= so_far + 2, LONG_S)
            second.kill()
            say(f"it is killed, after {len(run.reported())} trials")
            code = run.wait_for_end(LONG_S)
        finally:
            first.kill()
            if second.first.poll() is None:
                second.kill()
    ledger = Ledger(arena.study)
    ledger.read([run])
    ledger.check_files()
    print("".join(line for line in run.said if "ac-" in line or "machine" in line).rstrip())
    print(f"exit code {code}; {len(ledger.finished)} trials finished, {len(ledger.failed)} failed")
    print(f"lost {len(ledger.lost)}: {ledger.lost}; wrong {len(ledger.wrong)}: {ledger.wrong}")
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(int(code != 0 or bool(ledger.lost or ledger.wrong)))


if __name__ == "__main__":
    main()
