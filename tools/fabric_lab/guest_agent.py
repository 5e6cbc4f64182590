"""Runs in the guest, started by its init: starts processes for the lab over one virtio serial port. Frames both ways:
kind (1 byte), process (4 bytes), length (4 bytes), payload. The lab sends s (start: JSON with argv, env, cwd) and k
(signal number); the guest answers o (output) and x (exit code), and r once when it is ready."""
import json
import os
import selectors
import signal
import struct
import subprocess
import sys

_PORT = "/dev/vport{}p1"
HEADER = struct.Struct(">cII")
_CHUNK = 65536


class Agent:
    def __init__(self, port):
        self._port = port
        self._received = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(port, selectors.EVENT_READ)
        self._processes = {}

    def send(self, kind, process, payload=b""):
        data = HEADER.pack(kind, process, len(payload)) + payload
        while data:
            data = data[os.write(self._port, data):]

    def run(self):
        self.send(b"r", 0)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._port:
                    self._receive()
                else:
                    self._copy_output(key.fileobj, key.data)

    def _receive(self):
        data = os.read(self._port, _CHUNK)
        if not data:  # the lab is gone, and qemu with it in a moment
            sys.exit(0)
        self._received += data
        while len(self._received) >= HEADER.size:
            kind, number, length = HEADER.unpack_from(self._received)
            if len(self._received) < HEADER.size + length:
                return
            payload = self._received[HEADER.size:HEADER.size + length]
            self._received = self._received[HEADER.size + length:]
            if kind == b"s":
                self._start(number, json.loads(payload))
            elif kind == b"k" and number in self._processes:
                os.killpg(self._processes[number].pid, int(payload))

    def _start(self, number, request):
        try:
            started = subprocess.Popen(request["argv"], env=request["env"], cwd=request["cwd"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            self.send(b"o", number, f"{error}\n".encode())
            self.send(b"x", number, b"127")
            return
        self._processes[number] = started
        self._selector.register(started.stdout, selectors.EVENT_READ, number)

    def _copy_output(self, stream, number):
        data = os.read(stream.fileno(), _CHUNK)
        if data:
            self.send(b"o", number, data)
            return
        self._selector.unregister(stream)
        stream.close()
        self.send(b"x", number, str(self._processes.pop(number).wait()).encode())


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number = next(int(name[5:-2]) for name in os.listdir("/dev") if name.startswith("vport") and name.endswith("p1"))
    Agent(os.open(_PORT.format(number), os.O_RDWR)).run()


if __name__ == "__main__":
    main()
