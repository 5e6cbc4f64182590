"""What happens to an interface inside a node, as commands of iproute2 and nftables: rate, loss, silence. `run` runs one
command in the node."""

_TBF_BURST = "256kb"
_TBF_LATENCY = "20ms"


def set_rate(run, interface, rate, loss):
    """`rate`: Mbit/s, 0 for no limit; `loss`: percent of packets."""
    parent = ["root"]
    if loss > 0:
        run("tc", "qdisc", "replace", "dev", interface, "root", "handle", "1:", "netem", "loss", f"{loss}%")
        parent = ["parent", "1:"]
    if rate > 0:
        run("tc", "qdisc", "replace", "dev", interface, *parent, "handle", "10:", "tbf", "rate", f"{rate}mbit",
            "burst", _TBF_BURST, "latency", _TBF_LATENCY)


def blackhole(run, interface, direction):
    """Drops every packet that goes in, out or both."""
    table = f"lab_{interface}"
    run("nft", "add", "table", "netdev", table)
    hooks = {"in": ["ingress"], "out": ["egress"], "both": ["ingress", "egress"]}[direction]
    for hook in hooks:
        run("nft", f"add chain netdev {table} {hook} "
            f"{{ type filter hook {hook} device {interface} priority 0; policy drop; }}")


def unblackhole(run, interface):
    run("nft", "delete", "table", "netdev", f"lab_{interface}")
