"""What happens to rails and ranks while the command runs: parsed from the command line, ordered by time."""
import dataclasses
import re

from fabric_lab.errors import LabError

_SECONDS = r"(\d+(?:\.\d+)?)"


@dataclasses.dataclass(frozen=True, order=True)
class Event:
    """One thing to do `at` seconds after the ranks were started."""

    at: float
    action: str  # of a rail or node: cut, restore, blackhole, unblackhole, rate, reset, silence, unsilence
    # of a rank: kill, stop, continue
    node: int = -1
    rail: int = -1
    value: str = ""  # blackhole: in, out or both; rate: Mbit/s
    rank: int = -1


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


def parse_reset(text):
    node, rail, at = _parse("reset", text, rf"(\d+):(\d+)@{_SECONDS}", "NODE:RAIL@SECONDS")
    return [Event(float(at), "reset", int(node), int(rail))]


def parse_silence(text):
    node, at, length = _parse("silence", text, rf"(\d+)@{_SECONDS}(?:\+{_SECONDS})?", "NODE@SECONDS[+SECONDS]")
    events = [Event(float(at), "silence", int(node))]
    if length is not None:
        events.append(Event(float(at) + float(length), "unsilence", int(node)))
    return events


def parse_kill(text):
    rank, at = _parse("kill", text, rf"(\d+)@{_SECONDS}", "RANK@SECONDS")
    return [Event(float(at), "kill", rank=int(rank))]


def parse_stop(text):
    rank, at, length = _parse("stop", text, rf"(\d+)@{_SECONDS}(?:\+{_SECONDS})?", "RANK@SECONDS[+SECONDS]")
    events = [Event(float(at), "stop", rank=int(rank))]
    if length is not None:
        events.append(Event(float(at) + float(length), "continue", rank=int(rank)))
    return events


def check(events, nodes, rails, ranks):
    """Every event must name a node, rail or rank that exists."""
    for event in events:
        if event.rank >= ranks:
            raise LabError(f"--{event.action} names rank {event.rank}, but there are ranks 0 to {ranks - 1}")
        if event.node >= nodes or event.rail >= rails:
            rail = f":{event.rail}" if event.rail >= 0 else ""
            raise LabError(f"{event.action} of {event.node}{rail}: there are nodes 0 to "
                           f"{nodes - 1} with rails 0 to {rails - 1}")
