"""The lab's end of the channel to a guest (guest_agent.py): processes in the guest that look like subprocess.Popen."""
import json
import os
import signal
import subprocess
import threading

from fabric_lab.guest_agent import HEADER

_GUEST_IS_GONE = 125


class GuestProcess:
    """As much of subprocess.Popen as ranks need; `stdout` gives the output of both streams."""

    def __init__(self, channel, number):
        self._channel = channel
        self._number = number
        self._ended = threading.Event()
        output, self._output = os.pipe()
        self.stdout = os.fdopen(output, "rb")
        self.returncode = None

    def on_output(self, data):
        try:
            os.write(self._output, data)
        except OSError:
            pass  # nobody reads any more

    def on_exit(self, code):
        if not self._ended.is_set():
            self.returncode = code
            os.close(self._output)
            self._ended.set()

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("process in the guest", timeout)
        return self.returncode

    def send_signal(self, number):
        self._channel.send(b"k", self._number, str(int(number)).encode())

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class GuestChannel:
    """`stream`: a connected socket whose other end is the guest's serial port."""

    def __init__(self, stream):
        self._stream = stream
        self._lock = threading.Lock()
        self._processes = {}
        self._started = 0
        self._ready = threading.Event()
        self._gone = False
        threading.Thread(target=self._receive_all, daemon=True).start()

    def wait_ready(self, timeout):
        """False: the guest said nothing in time, or ended."""
        return self._ready.wait(timeout) and not self._gone

    def start(self, argv, environment, directory):
        with self._lock:
            self._started += 1
            number = self._started
            process = GuestProcess(self, number)
            self._processes[number] = process
        request = {"argv": argv, "env": environment, "cwd": directory}
        self.send(b"s", number, json.dumps(request).encode())
        if self._gone:
            process.on_exit(_GUEST_IS_GONE)
        return process

    def send(self, kind, number, payload):
        try:
            with self._lock:
                self._stream.sendall(HEADER.pack(kind, number, len(payload)) + payload)
        except OSError:
            pass  # _receive_all sees the end, too, and says so to every process

    def _receive_all(self):
        try:
            with self._stream, self._stream.makefile("rb") as reader:
                while True:
                    header = reader.read(HEADER.size)
                    if len(header) < HEADER.size:
                        break
                    kind, number, length = HEADER.unpack(header)
                    self._on_frame(kind, number, reader.read(length))
        except OSError:
            pass
        self._gone = True
        self._ready.set()
        for process in list(self._processes.values()):
            process.on_exit(_GUEST_IS_GONE)

    def _on_frame(self, kind, number, payload):
        if kind == b"r":
            self._ready.set()
        elif kind == b"o":
            self._processes[number].on_output(payload)
        elif kind == b"x":
            self._processes.pop(number).on_exit(int(payload))
