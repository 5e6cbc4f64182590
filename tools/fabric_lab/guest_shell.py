"""What ssh would do between guests, over their management network: `guest_shell.py serve ADDRESS` runs on every node,
`guest_shell.py HOST COMMAND...` starts a command there and copies its output until it ends. Nobody else is on that network."""
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

_PORT = 2222


def _serve_one(connection):
    with connection, connection.makefile("rb") as reader:
        request = json.loads(reader.readline())
        subprocess.run(["sh", "-c", request["command"]], cwd=request["directory"], stdin=subprocess.DEVNULL, stdout=connection,
                       stderr=connection, check=False)


def _serve(address):
    listener = socket.create_server((address, _PORT), backlog=64)
    if os.fork() != 0:  # it listens from here on
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    while True:
        threading.Thread(target=_serve_one, args=(listener.accept()[0],), daemon=True).start()


def _start(host, command):
    address = f"10.0.0.{int(host.removeprefix('node')) + 1}"
    with socket.create_connection((address, _PORT)) as connection, connection.makefile("rb") as reader:
        connection.sendall(json.dumps({"command": command, "directory": os.getcwd()}).encode() + b"\n")
        shutil.copyfileobj(reader, sys.stdout.buffer)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        _start(sys.argv[1], " ".join(sys.argv[2:]))
