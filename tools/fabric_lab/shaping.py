"""What happens to an interface inside a node, as commands of iproute2 and nftables: rate, loss, silence, resets. `run`
runs one command in the node and returns its output."""
from fabric_lab.errors import LabError

# What a rail may pass at once: 2 ms of its rate, so that a slow one looks slow, and a packet of the largest size in any case.
_TBF_BURST_S = 0.002
_TBF_LEAST_BURST = 68 << 10
_TBF_LATENCY = "20ms"


def set_rate(run, interface, rate):
    """`rate`: Mbit/s, 0 for no limit."""
    if rate > 0:
        burst = max(_TBF_LEAST_BURST, round(_TBF_BURST_S * rate * 1e6 / 8))
        run("tc", "qdisc", "replace", "dev", interface, "root", "handle", "10:", "tbf", "rate", f"{rate}mbit",
            "burst", str(burst), "latency", _TBF_LATENCY)


def set_loss(run, interface, loss):
    """`loss`: percent of the packets that go out. By nftables: netem is not in every kernel."""
    if loss > 0:
        table = f"loss_{interface}"
        run("nft", "add", "table", "netdev", table)
        run("nft", f"add chain netdev {table} egress {{ type filter hook egress device {interface} priority 0; }}")
        run("nft", f"add rule netdev {table} egress numgen random mod 100000 < {round(1000 * loss)} drop")


def apply(run, event, rails):
    """What is done in the same way in every fabric; a node has `rails` rails and mgmt0."""
    interfaces = [f"rail{event.rail}"]
    if event.action in ("silence", "unsilence"):
        interfaces = ["mgmt0", *(f"rail{rail}" for rail in range(rails))]
    for interface in interfaces:
        if event.action == "reset":
            _reset(run, interface)
        elif event.action in ("blackhole", "silence"):
            _blackhole(run, interface, event.value or "both")
        else:
            run("nft", "delete", "table", "netdev", f"lab_{interface}")


def _blackhole(run, interface, direction):
    """Drops every packet that goes in, out or both."""
    table = f"lab_{interface}"
    run("nft", "add", "table", "netdev", table)
    hooks = {"in": ["ingress"], "out": ["egress"], "both": ["ingress", "egress"]}[direction]
    for hook in hooks:
        run("nft", f"add chain netdev {table} {hook} "
            f"{{ type filter hook {hook} device {interface} priority 0; policy drop; }}")


def _reset(run, interface):
    """Kills the interface's TCP connections; those that listen stay."""
    address = run("ip", "-brief", "-4", "address", "show", interface).split()[2].split("/")[0]
    if not run("ss", "-HKt", "state", "connected", "src", address).strip():
        raise LabError(f"no TCP connection of {interface} ({address}) was killed: it has none, or the kernel cannot do "
                       "it (CONFIG_INET_DIAG_DESTROY)")
