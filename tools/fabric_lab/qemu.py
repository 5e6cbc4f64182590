"""Nodes as virtual machines with Soft-RoCE rails: a network per rail and mgmt0 for the start, the control path and the TCP
that is left when no rail is; node 0's qemu holds the hubs. The host's file system is the guests', read-only but for /tmp
and the current folder, so that what was just built runs unchanged."""
import os
import shlex
import socket
import sys
import tempfile

from fabric_lab import guest_image, mpirun, process, shaping
from fabric_lab.errors import LabError
from fabric_lab.machine import Machine, guest_file

_TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio", "modprobe": "kmod",
          "ip": "iproute2", "tc": "iproute2", "rdma": "iproute2", "nft": "nftables", "ss": "iproute2"}
_MAX_NODES = 4
_MAX_RAILS = 4
_BOOT_SECONDS = 180  # of a busy machine; an idle one needs five
_MEMORY_MB = 1024

# Runs in the guest; the arguments are its name, its networks, and TAG=FOLDER for what it may write.
_SETUP = """set -e
name=$1 node=$2 networks=$3
shift 3
for share in "$@"; do
  mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=mmap "${share%%=*}" "${share#*=}"
done
hostname "$name"
ip link set lo up
number=0
while [ $number -lt $networks ]; do
  if [ $number = 0 ]; then interface=mgmt0; else interface=rail$((number - 1)); fi
  ip link set eth$number name $interface
  ip link set $interface mtu 9000 up
  ip address add 10.$number.0.$((node + 1))/24 dev $interface
  [ $number = 0 ] || rdma link add rxe$((number - 1)) type rxe netdev $interface
  number=$((number + 1))
done
"""


def _shares(directory):
    shares = ["/tmp"]
    if directory != "/" and not directory.startswith("/tmp/") and directory != "/tmp":
        shares.append(directory)
    return shares


class QemuFabric:
    """`rates`: Mbit/s by rail, 0 for none; `loss`: percent of packets, on every rail; `cut_by`: link or port."""

    def __init__(self, nodes, rails, rates, loss, cut_by):
        if nodes > _MAX_NODES or rails > _MAX_RAILS:
            raise LabError(f"--nodes {nodes} --rails {rails}: the qemu fabric has up to {_MAX_NODES} nodes with up to "
                           f"{_MAX_RAILS} rails each")
        process.require_root()
        process.require_tools(_TOOLS)
        kernel, version = guest_image.find_kernel()
        image = guest_image.initramfs(version)
        self._rails = rails
        self._cut_by = cut_by
        self._directory = os.getcwd()
        self._machines = []
        try:
            self._boot(nodes, kernel, image)
            for node in range(nodes):
                for rail in range(rails):
                    self.set_rate(node, rail, rates[rail])
                    shaping.set_loss(self._machines[node].run, f"rail{rail}", loss)
        except BaseException as error:
            self.close(failed=isinstance(error, Exception))
            raise

    def _boot(self, nodes, kernel, image):
        shares = _shares(self._directory)
        cpus = max(1, min(2, (os.cpu_count() or 1) // nodes))
        networks = self._rails + 1
        hub = [[] for _ in range(networks)]
        spokes = []
        for _ in range(1, nodes):
            pairs = [socket.socketpair() for _ in range(networks)]
            for number, (here, _) in enumerate(pairs):
                hub[number].append(here)
            spokes.append([[there] for _, there in pairs])
        for node, cables in enumerate([hub, *spokes]):
            self._machines.append(Machine(f"node{node}", kernel, image, cables, shares, cpus, _MEMORY_MB))
        for machine in self._machines:
            machine.wait_booted(_BOOT_SECONDS)
        tags = [f"share{number}={path}" for number, path in enumerate(shares)]
        for node, machine in enumerate(self._machines):
            machine.run("sh", "-c", _SETUP, "sh", machine.name, str(node), str(networks), *tags)

    @staticmethod
    def master_address():
        return "10.0.0.1"

    def environment(self):
        """What a rank has to know of its rails: RDMA ports are found; sockets are for the management network."""
        return {"RAILCCL_SOCKET_IFNAME": "mgmt0", "GLOO_SOCKET_IFNAME": "mgmt0"}

    def start(self, node, command, environment):
        return self._machines[node].channel.start(command, environment, self._directory)

    def set_rate(self, node, rail, rate):
        shaping.set_rate(self._machines[node].run, f"rail{rail}", rate)

    def apply(self, event):
        """Carries out one event (events.py) of a rail."""
        machine = self._machines[event.node]
        if event.action in ("cut", "restore"):
            self.set_up(event.node, event.rail, event.action == "restore", self._cut_by)
        elif event.action == "rate":
            self.set_rate(event.node, event.rail, int(event.value))
        else:
            shaping.apply(machine.run, event, self._rails)

    def set_up(self, node, rail, up, by):
        """`by`: link, the cable of the rail; or port, the interface in the guest."""
        if by == "link":
            self._machines[node].set_link(rail + 1, up)
        else:
            self.run(node, "ip", "link", "set", f"rail{rail}", "up" if up else "down")

    def remote_shell(self, folder):
        """A script that starts a command on another node, as ssh would."""
        shell = guest_file("guest_shell.py")
        for node in range(len(self._machines)):
            self.run(node, "python3", "-B", shell, "serve", f"10.0.0.{node + 1}")
        return mpirun.write_agent(folder, f'#!/bin/sh\nexec python3 -B {shlex.quote(shell)} "$@"\n')

    def run(self, node, *command):
        """A short command in a guest, as root; answers what it printed."""
        return self._machines[node].run(*command)

    def close(self, failed=False):
        """`failed`: keeps what the guests' consoles said."""
        for machine in self._machines:
            machine.close()
        if failed and self._machines:
            folder = tempfile.mkdtemp(prefix="fabric-lab-")
            for machine in self._machines:
                with open(os.path.join(folder, f"{machine.name}.log"), "wb") as file:
                    file.write(machine.console())
            print(f"fabric-lab: console logs of the guests: {folder}", file=sys.stderr)
        self._machines = []
