"""A lab of virtual machines that is booted once and runs one program after the other; the test changes rails when what the
program says of itself shows that it is the time."""
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from support import SOURCE

sys.path.insert(0, os.path.join(SOURCE, "tools"))
from fabric_lab import mpirun  # noqa: E402  # pylint: disable=wrong-import-position
from fabric_lab.qemu import QemuFabric  # noqa: E402  # pylint: disable=wrong-import-position
from fabric_lab.ranks import Ranks  # noqa: E402  # pylint: disable=wrong-import-position

_FIRST_PORT = 29500
_PAUSE = 0.1


class Session:
    """`--fabric qemu` of tools/fabric-lab, from within."""

    def __init__(self, nodes, rails):
        self._nodes = nodes
        self._port = _FIRST_PORT
        self._remote_shell = None
        self._folder = tempfile.TemporaryDirectory(prefix="railccl-session-")
        self.fabric = QemuFabric(nodes, rails, [0] * rails, 0.0, "link")

    def close(self, failed):
        self.fabric.close(failed)
        self._folder.cleanup()

    def run(self, command, environment=None, nodes=None, ranks_per_node=1, during=None, timeout=240):
        """(exit code, output) of the command on every rank; settings that are None are not set. `during` is called with this run when it has begun."""
        self._port += 1
        nodes = nodes or self._nodes
        output = io.BytesIO()
        ranks = Ranks(self.fabric, nodes, ranks_per_node, self._port, output=output)
        settings = {"RAILCCL_METRICS_FILE": os.path.join(self._folder.name, f"{self._port}-%r.prom"),
                    "RAILCCL_METRICS_INTERVAL_S": "1"} | (environment or {})
        words = [f"{name}={value}" for name, value in settings.items() if value is not None]
        try:
            ranks.start(["timeout", "-k", "5", str(timeout), "env", *words, *command])
            if during is not None:
                during(Run(self._folder.name, self._port))
            code = ranks.run([])
        finally:
            ranks.stop()
        return code, output.getvalue().decode(errors="replace")

    def mpirun(self, command, options, environment, timeout=240):
        """(exit code, output) of Open MPI's mpirun with one rank on each node."""
        if self._remote_shell is None:
            self._remote_shell = self.fabric.remote_shell(self._folder.name)
        hosts = ",".join(f"node{node}" for node in range(self._nodes))
        exports = [word for name, value in environment.items() for word in ("-x", f"{name}={value}")]
        started = self.fabric.start(0, ["timeout", "-k", "5", str(timeout), *mpirun.words(self._remote_shell), "--host", hosts,
                                        "-np", str(self._nodes), *exports, *options, *command], dict(os.environ))
        with started.stdout:
            output = started.stdout.read().decode(errors="replace")
        return started.wait(), output

    def cut(self, node, rail, by):
        self.fabric.set_up(node, rail, False, by)

    def restore(self, node, rail, by):
        self.fabric.set_up(node, rail, True, by)
        if by == "port":  # what the system's network configuration would do
            self.fabric.run(node, "ip", "address", "replace", f"10.{rail + 1}.0.{node + 1}/24", "dev", f"rail{rail}")


class Run:
    """What the ranks of a run say of themselves in their metrics."""

    def __init__(self, folder, port):
        self._folder = folder
        self._port = port

    def metric(self, rank, name, labels=""):
        """The sum of a metric's samples whose labels contain the text; 0 as long as there are none."""
        try:
            text = pathlib.Path(self._folder, f"{self._port}-{rank}.prom").read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0
        samples = re.findall(rf"^railccl_{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
        return sum(float(value) for found, value in samples if labels in found)

    def wait(self, what, holds, seconds=60):
        """Returns when `holds` is true; an error that says what was waited for, otherwise."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s: {what}")
            time.sleep(_PAUSE)


def remove_console_logs(output):
    for folder in re.findall(r"console logs of the guests: (\S+)", output):
        subprocess.run(["rm", "-r", folder], check=True)
