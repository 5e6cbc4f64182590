"""Nodes as network namespaces: one network per rail (a bridge in a switch namespace of their own), and one more, mgmt0,
for the start and the control path, which events do not touch. A namespace lives as long as its holder process, which
dies with the lab: nothing is left behind."""
import subprocess

from fabric_lab import mpirun, process, shaping
from fabric_lab.errors import LabError

_TOOLS = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux", "unshare": "util-linux",
          "nft": "nftables", "ss": "iproute2"}


class _Namespace:
    def __init__(self):
        self._holder = process.start(
            ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self._holder.stdout.readline().strip() != "ready":
            message = self._holder.stderr.read().strip()
            raise LabError(f"no network namespace can be made here: {message}; it needs root with "
                           "CAP_SYS_ADMIN (in a container: --privileged)")
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self):
        return self._holder.pid

    def enter(self):
        return ["nsenter", "-t", str(self.pid), "-n"]

    def run(self, *command):
        return process.run([*self.enter(), *command])

    def close(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()
        self._holder.stderr.close()


# Runs what stands behind a node's name in that node, as start() does. mpirun gives the command as several words.
_REMOTE_SHELL = """#!/bin/sh
node=${{1#node}}
shift
pid=$(echo {pids} | cut -d' ' -f$((node + 1)))
exec nsenter -t "$pid" -n unshare --mount --uts sh -c '{setup}; exec sh -c "$1"' "$node" "$*"
"""


class NetnsFabric:
    """`rates`: Mbit/s by rail, 0 for none; `loss`: percent of packets, on every rail."""

    def __init__(self, nodes, rails, rates, loss):
        process.require_root()
        process.require_tools(_TOOLS)
        self._rails = rails
        self._namespaces = []
        try:
            self._switch = self._add_namespace()
            self._nodes = [self._add_namespace() for _ in range(nodes)]
            self._add_network("mgmt0", 0)
            for rail in range(rails):
                self._add_network(f"rail{rail}", rail + 1)
            for node in range(nodes):
                for rail in range(rails):
                    self.set_rate(node, rail, rates[rail])
                    shaping.set_loss(self._nodes[node].run, f"rail{rail}", loss)
        except BaseException:
            self.close()
            raise

    def _add_namespace(self):
        namespace = _Namespace()
        self._namespaces.append(namespace)
        return namespace

    def _add_network(self, interface, number):
        bridge = f"br{number}"
        self._switch.run("ip", "link", "add", bridge, "type", "bridge", "stp_state", "0")
        self._switch.run("ip", "link", "set", bridge, "up")
        for index, node in enumerate(self._nodes):
            port = f"p{index}n{number}"
            self._switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", interface,
                             "netns", str(node.pid))
            self._switch.run("ip", "link", "set", port, "master", bridge, "up")
            node.run("ip", "address", "add", f"{self.address(index, number)}/24", "dev", interface)
            node.run("ip", "link", "set", interface, "up")

    @staticmethod
    def address(node, network):
        return f"10.{network}.0.{node + 1}"

    def master_address(self):
        return self.address(0, 0)

    def environment(self):
        """What a rank has to know of its rails."""
        return {"RAILCCL_RAILS": ",".join(f"rail{rail}" for rail in range(self._rails)),
                "GLOO_SOCKET_IFNAME": "rail0"}

    def start(self, node, command, environment):
        """A process in the node's namespace, with its own host name and /sys."""
        setup = f'mount -t sysfs sysfs /sys 2>/dev/null; hostname node{node}; exec "$@"'
        return process.start(
            [*self._nodes[node].enter(), "unshare", "--mount", "--uts", "sh", "-c", setup, "sh", *command],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def remote_shell(self, folder):
        """A script that starts a command on another node, as ssh would."""
        return mpirun.write_agent(folder, _REMOTE_SHELL.format(
            pids=" ".join(str(node.pid) for node in self._nodes),
            setup="mount -t sysfs sysfs /sys 2>/dev/null; hostname node$0"))

    def set_rate(self, node, rail, rate):
        shaping.set_rate(self._nodes[node].run, f"rail{rail}", rate)

    def apply(self, event):
        """Carries out one event (events.py) of a rail."""
        namespace = self._nodes[event.node]
        interface = f"rail{event.rail}"
        if event.action == "cut":
            namespace.run("ip", "link", "set", interface, "down")
        elif event.action == "restore":
            namespace.run("ip", "link", "set", interface, "up")
        elif event.action == "rate":
            self.set_rate(event.node, event.rail, int(event.value))
        else:
            shaping.apply(namespace.run, event, self._rails)

    def close(self, failed=False):
        """`failed`: nothing is kept here that could say more."""
        del failed
        for namespace in self._namespaces:
            namespace.close()
        self._namespaces = []
