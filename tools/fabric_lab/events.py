"""What happens to rails and ranks while the command runs: parsed from the command line, ordered by time."""
import dataclasses
import re

from fabric_lab.errors import LabError

_SECONDS = r"(\d+(?:\.\d+)?)"


@dataclasses.dataclass(frozen=True, order=True)
class Event:
    """One thing to do `at` seconds after the ranks were started."""

    at: float
    action: str  # cut, restore, blackhole, unblackhole, rate, kill
    node: int = -1
    rail: int = -1
    value: str = ""  # blackhole: in, out or both; rate: Mbit/s; kill: rank


def _parse(option, text, pattern, form):
    match = re.fullmatch(pattern, text)
    if not match:
        raise LabError(f"--{option} {text}: expected {form}")
    return match.groups()


def parse_cut(text):
    node, rail, at, length = _parse(
        "cut", text, rf"(\d+):(\d+)@{_SECONDS}(?:\+{_SECONDS})?", "NODE:RAIL@SECONDS[+SECONDS]")
    events = [Event(float(at), "cut", int(node), int(rail))]
    if length is not None:
        events.append(Event(float(at) + float(length), "restore", int(node), int(rail)))
    return events


def parse_blackhole(text):
    node, rail, direction, at, length = _parse(
        "blackhole", text, rf"(\d+):(\d+)(?::(in|out))?@{_SECONDS}(?:\+{_SECONDS})?",
        "NODE:RAIL[:in|out]@SECONDS[+SECONDS]")
    events = [Event(float(at), "blackhole", int(node), int(rail), direction or "both")]
    if length is not None:
        events.append(Event(float(at) + float(length), "unblackhole", int(node), int(rail)))
    return events


def parse_rate_change(text):
    node, rail, rate, at = _parse(
        "rate-change", text, rf"(\d+):(\d+)=(\d+)@{_SECONDS}", "NODE:RAIL=MBIT@SECONDS")
    return [Event(float(at), "rate", int(node), int(rail), rate)]


def parse_kill(text):
    rank, at = _parse("kill", text, rf"(\d+)@{_SECONDS}", "RANK@SECONDS")
    return [Event(float(at), "kill", value=rank)]


def check(events, nodes, rails, ranks):
    """Every event must name a node, rail or rank that exists."""
    for event in events:
        if event.action == "kill":
            if int(event.value) >= ranks:
                raise LabError(f"--kill names rank {event.value}, but there are ranks 0 to {ranks - 1}")
        elif event.node >= nodes or event.rail >= rails:
            raise LabError(f"{event.action} of {event.node}:{event.rail}: there are nodes 0 to "
                           f"{nodes - 1} with rails 0 to {rails - 1}")
