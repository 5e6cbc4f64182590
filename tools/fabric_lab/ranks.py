"""The ranks of a run: one process each, output prefixed, events carried out in time, exit code the worst."""
import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_SECONDS = 5
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "continue": signal.SIGCONT}


class Ranks:
    """`fabric` gives start(node, command, environment), master_address(), environment() and apply(event)."""

    def __init__(self, fabric, nodes, ranks_per_node, port, clock_from="", output=None):
        """`clock_from`: events count from the first line of output that has it; empty: from run()."""
        self._output = output or sys.stdout.buffer
        self._fabric = fabric
        self._ranks_per_node = ranks_per_node
        self._world = nodes * ranks_per_node
        self._port = port
        self._processes = []
        self._readers = []
        self._print_lock = threading.Lock()
        self._clock_from = clock_from.encode()
        self._began = None

    def _environment(self, rank):
        environment = dict(os.environ)
        environment.update(self._fabric.environment() | {
            "RANK": str(rank),
            "WORLD_SIZE": str(self._world),
            "LOCAL_RANK": str(rank % self._ranks_per_node),
            "LOCAL_WORLD_SIZE": str(self._ranks_per_node),
            "GROUP_RANK": str(rank // self._ranks_per_node),
            "MASTER_ADDR": self._fabric.master_address(),
            "MASTER_PORT": str(self._port),
            "PYTHONUNBUFFERED": "1",
        })
        # What the caller chose for rails counts.
        environment.update({name: value for name, value in os.environ.items()
                            if name.startswith("RAILCCL_") or name == "GLOO_SOCKET_IFNAME"})
        return environment

    def start(self, command):
        for rank in range(self._world):
            self._start(rank, rank // self._ranks_per_node, command, self._environment(rank))

    def start_launcher(self, command):
        """One command on node 0, which starts the ranks by itself and says who is who."""
        self._start(0, 0, command, os.environ | self._fabric.environment())

    def _start(self, number, node, command, environment):
        started = self._fabric.start(node, command, environment)
        self._processes.append(started)
        reader = threading.Thread(target=self._copy_output, args=(number, started), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _copy_output(self, rank, started):
        with started.stdout:
            for line in started.stdout:
                if self._began is None and self._clock_from and self._clock_from in line:
                    self._began = time.monotonic()
                with self._print_lock:
                    self._output.write(f"[{rank}] ".encode() + line.rstrip(b"\n") + b"\n")
                    self._output.flush()

    def say(self, text):
        with self._print_lock:
            self._output.write(f"[lab] {text}\n".encode())
            self._output.flush()

    def _running(self):
        return any(started.poll() is None for started in self._processes)

    def run(self, events):
        """Waits for all ranks, carrying out the events; returns the worst exit code."""
        if not self._clock_from:
            self._began = time.monotonic()
        pending = sorted(events)
        while self._running():
            now = time.monotonic() - self._began if self._began is not None else -1.0
            while pending and pending[0].at <= now:
                self._carry_out(pending.pop(0))
            rest = pending[0].at - now if pending else 1.0
            time.sleep(min(max(rest, 0.001), 0.02))
        for reader in self._readers:
            reader.join(_GRACE_SECONDS)
        for event in pending:
            self.say(f"{event.at:.1f} s: too late to {self._text(event)}: the command had ended")
        return max(self._exit_code(started.returncode) for started in self._processes)

    def _carry_out(self, event):
        """Says so when it is done."""
        if event.rank >= 0:
            self._processes[event.rank].send_signal(_SIGNALS[event.action])
        else:
            self._fabric.apply(event)
        self.say(f"{event.at:.1f} s: {self._text(event)}")

    @staticmethod
    def _text(event):
        if event.rank >= 0:
            return f"{event.action} rank {event.rank}"
        detail = f" {event.value}" if event.value else ""
        rail = f" rail {event.rail} of" if event.rail >= 0 else ""
        return f"{event.action}{detail}{rail} node {event.node}"

    @staticmethod
    def _exit_code(code):
        return 128 - code if code < 0 else code

    def stop(self):
        """Ends what still runs: SIGTERM, then SIGKILL."""
        for started in self._processes:
            if started.poll() is None:
                started.terminate()
                started.send_signal(signal.SIGCONT)  # for one that was stopped
        deadline = time.monotonic() + _GRACE_SECONDS
        for started in self._processes:
            try:
                started.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
