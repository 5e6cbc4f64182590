"""A plain TCP sender over each rail alone, for comparison: run by fabric-lab with one rank on each of two nodes.

Rank 0 sends BYTES over one socket to rank 1, which answers one byte when all has come; rank 0 prints one line of JSON
with the payload's bytes per second of each rail, in the order of the rails.
"""
import json
import os
import socket
import subprocess
import sys
import time

BYTES = int(sys.argv[1])
PORT = 23400


def address_of(interface):
    words = subprocess.run(["ip", "-brief", "-4", "address", "show", interface], check=True,
                           capture_output=True, text=True).stdout.split()
    return words[2].split("/")[0]


def receive(address):
    with socket.create_server((address, PORT)) as server:
        server.settimeout(30)
        connection, _ = server.accept()
        with connection:
            space = bytearray(1 << 20)
            left = BYTES
            while left:
                left -= connection.recv_into(space, min(left, len(space)))
            connection.sendall(b"!")


def send(address):
    end = time.monotonic() + 30
    while True:
        try:
            connection = socket.create_connection((address, PORT), timeout=30)
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
    with connection:
        data = bytes(1 << 20)
        begin = time.monotonic()
        for sent in range(0, BYTES, len(data)):
            connection.sendall(data[:BYTES - sent])
        if connection.recv(1) != b"!":
            raise ConnectionError("the receiver went away")
        return BYTES / (time.monotonic() - begin)


def main():
    rates = []
    for rail in os.environ["RAILCCL_RAILS"].split(","):
        mine = address_of(rail)
        if os.environ["RANK"] == "1":
            receive(mine)
        else:
            rates.append(send(mine.rsplit(".", 1)[0] + ".2"))
    if rates:
        print(json.dumps({"bytes_per_second": rates}))


main()
