"""Attacks every listening TCP port of its network namespace: run beside a rank, by faults_test.py.

    python3 flood.py SEED SECONDS

Connections that say nothing, that send garbage, a beginning of something right, or more than anyone can want; some are
kept open. Prints how many there were.
"""
import random
import socket
import subprocess
import sys
import time

MAGICS = (b"", b"RAILCCL", b"RAICCLID", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, b"\xff" * 64)
KEPT = 200


def listeners():
    output = subprocess.run(["ss", "-Htnl"], capture_output=True, text=True, check=True).stdout
    addresses = []
    for line in output.splitlines():
        host, _, port = line.split()[3].rpartition(":")
        host = host.split("%")[0].strip("[]")
        addresses.append(("127.0.0.1" if host in ("0.0.0.0", "*", "::") else host, int(port)))
    return addresses


def attack(chooser, address):
    """(connection or None, bytes sent)"""
    connection = socket.socket()
    connection.settimeout(0.2)
    try:
        connection.connect(address)
        data = chooser.choice(MAGICS) + chooser.randbytes(chooser.choice((0, 1, 40, 200, 70_000)))
        connection.sendall(data)
        return connection, len(data)
    except OSError:
        connection.close()
        return None, 0


def main():
    chooser = random.Random(int(sys.argv[1]))
    end = time.monotonic() + float(sys.argv[2])
    kept, found, count, sent = [], set(), 0, 0
    while time.monotonic() < end:
        addresses = listeners()
        found.update(addresses)
        for address in addresses * 20:
            connection, size = attack(chooser, address)
            count += connection is not None
            sent += size
            if connection is not None:
                kept.append(connection)
            if len(kept) > KEPT:
                kept.pop(chooser.randrange(len(kept))).close()
    print(f"flood: {count} connections to {len(found)} ports, {sent} bytes", flush=True)


main()
