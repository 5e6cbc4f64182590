"""One virtual machine: qemu under software emulation, its console, its monitor and the channel to its processes. It ends
with the lab."""
import contextlib
import json
import os
import socket
import subprocess
import threading

from fabric_lab import process
from fabric_lab.errors import LabError
from fabric_lab.guest_channel import GuestChannel

_CONSOLE_BYTES = 1 << 20
_MONITOR_SECONDS = 10
_MTU = 9000  # of the emulated cables, so that rxe uses packets of 4096 bytes


def guest_file(path):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), path)


class Machine:
    """`cables`: for each of its networks a list of sockets, one per other end (none: nobody else is there).
    `shares`: folders of the host that the guest may write."""

    def __init__(self, name, kernel, initramfs, cables, shares, cpus, memory_mb):
        self.name = name
        self._networks = len(cables)
        self._console = bytearray()
        guest_end, channel = socket.socketpair()
        monitor_end, self._monitor = socket.socketpair()
        descriptors = [guest_end, monitor_end, *(cable for network in cables for cable in network)]
        # With no more than one processor to come, qemu 7.2 leaves out the guest's memory barriers, which its own threads need as
        # much as another processor (tcg_gen_mb of later versions says so, and keeps them): now and then a NIC stood still for ever.
        smp = f"{cpus},maxcpus={max(2, cpus)}"
        # Without no_timer_check a kernel whose host is busy finds no timer interrupts while it looks for them, and panics.
        command = [
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", smp,
            "-m", str(memory_mb), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", kernel, "-initrd", initramfs, "-append",
            "console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off random.trust_cpu=on no_timer_check "
            f"nr_cpus={cpus} "
            f"lab_agent={guest_file('guest_agent.py')}",
            "-serial", "stdio", "-chardev", f"socket,id=monitor,fd={monitor_end.fileno()}", "-mon",
            "chardev=monitor,mode=control", "-device", "virtio-serial-pci,romfile=", "-chardev",
            f"socket,id=agent,fd={guest_end.fileno()}", "-device", "virtserialport,chardev=agent,nr=1",
            "-device", "virtio-rng-pci,romfile=",
            *self._share_options([("root", "/", True), *((f"share{i}", path, False) for i, path in enumerate(shares))]),
            *self._network_options(cables)]
        self._process = process.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, pass_fds=[one.fileno() for one in descriptors])
        # Its first thread, which moves the packets, comes before those of its processors: one that polls leaves it little.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(self._process.pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        for one in descriptors:
            one.close()
        threading.Thread(target=self._read_console, daemon=True).start()
        self._monitor.settimeout(_MONITOR_SECONDS)
        self._monitor_answers = self._monitor.makefile("rb")
        self.channel = GuestChannel(channel)

    @staticmethod
    def _share_options(shares):
        options = []
        for tag, path, readonly in shares:
            access = "readonly=on," if readonly else ""
            # A comma in a value is doubled.
            options += ["-virtfs", f"local,path={path.replace(',', ',,')},{access}security_model=none,multidevs=remap,"
                        f"mount_tag={tag}"]
        return options

    def _network_options(self, cables):
        """A NIC per network; where several others are there, on a hub inside of this qemu with a cable to each of them."""
        options = []
        for number, network in enumerate(cables):
            if len(network) == 1:
                options += ["-netdev", f"socket,id=net{number},fd={network[0].fileno()}"]
            else:
                options += self._hub_options(number, network)
            options += ["-device", f"virtio-net-pci,id=nic{number},netdev=net{number},mac={self._mac(number)},host_mtu={_MTU},"
                                   "romfile="]
        return options

    @staticmethod
    def _hub_options(number, network):
        options = ["-netdev", f"hubport,id=net{number},hubid={number}"]
        for index, cable in enumerate(network):
            name = f"cable{number}_{index}"
            options += ["-netdev", f"socket,id={name},fd={cable.fileno()}", "-netdev",
                        f"hubport,id={name}_port,hubid={number},netdev={name}"]
        return options

    def _mac(self, network):
        return f"52:54:00:4c:{network:02x}:{int(self.name.removeprefix('node')):02x}"

    def _read_console(self):
        for line in self._process.stdout:
            self._console += line
            del self._console[:-_CONSOLE_BYTES]

    def console(self):
        return bytes(self._console)

    def wait_booted(self, seconds):
        if not self.channel.wait_ready(seconds):
            ended = "has ended" if self._process.poll() is not None else f"has not booted within {seconds} s"
            raise LabError(f"the virtual machine of {self.name} {ended}")

    def run(self, *command):
        """Runs a short command in the guest, as root; an error carries what it printed."""
        started = self.channel.start(list(command), dict(os.environ), "/")
        output = started.stdout.read().decode(errors="replace")
        started.stdout.close()
        if started.wait() != 0:
            raise LabError(f"{self.name}: {' '.join(command)} failed: {output.strip()}")
        return output

    def set_link(self, network, up):
        """Plugs the cable of a network in or out."""
        self._ask("qmp_capabilities")
        self._ask("set_link", name=f"nic{network}", up=up)

    def _ask(self, command, **arguments):
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            line = self._monitor_answers.readline()
            if not line:
                raise LabError(f"the virtual machine of {self.name} has ended")
            answer = json.loads(line)
            # Anything after the greeting's negotiation says that it was made before.
            if "return" in answer or answer.get("error", {}).get("class") == "CommandNotFound":
                return
            if "error" in answer:
                raise LabError(f"{self.name}: {command} failed: {answer['error'].get('desc')}")

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._monitor_answers.close()
        self._monitor.close()
