"""The command line of tools/fabric-lab."""
import argparse
import os
import shutil
import signal
import sys
import tempfile

from fabric_lab import events as lab_events
from fabric_lab import mpirun
from fabric_lab.errors import LabError
from fabric_lab.netns import NetnsFabric
from fabric_lab.qemu import QemuFabric
from fabric_lab.ranks import Ranks

_PORT = 29500


def _parser():
    parser = argparse.ArgumentParser(
        prog="fabric-lab", description="Runs a command on emulated nodes with several rails.")
    commands = parser.add_subparsers(dest="command_name", required=True)
    run = commands.add_parser("run", help="run COMMAND once per rank",
                              usage="fabric-lab run [options] -- COMMAND...")
    run.add_argument("--fabric", choices=["netns", "qemu"], default="netns")
    run.add_argument("--nodes", type=int, default=2, metavar="N")
    run.add_argument("--rails", type=int, default=2, metavar="R")
    run.add_argument("--ranks-per-node", type=int, default=1, metavar="K")
    run.add_argument("--rate", default="", metavar="MBIT[,MBIT...]",
                     help="of each rail, one for all or one per rail; default: not limited")
    run.add_argument("--cut", action="append", default=[], metavar="NODE:RAIL@SECONDS[+SECONDS]",
                     help="take that node's side of a rail down, +SECONDS: and up again")
    run.add_argument("--cut-by", choices=["link", "port"], default="link",
                     help="qemu: pull the cable out, or take the port down in the guest")
    run.add_argument("--blackhole", action="append", default=[],
                     metavar="NODE:RAIL[:in|out]@SECONDS[+SECONDS]",
                     help="drop everything silently, without a link event")
    run.add_argument("--loss", type=float, default=0.0, metavar="PERCENT")
    run.add_argument("--rate-change", action="append", default=[], metavar="NODE:RAIL=MBIT@SECONDS")
    run.add_argument("--reset", action="append", default=[], metavar="NODE:RAIL@SECONDS",
                     help="kill that node's TCP connections on a rail; it stays up")
    run.add_argument("--silence", action="append", default=[], metavar="NODE@SECONDS[+SECONDS]",
                     help="drop everything of a node, on every rail and mgmt0: a host that vanishes")
    run.add_argument("--kill", action="append", default=[], metavar="RANK@SECONDS")
    run.add_argument("--stop", action="append", default=[], metavar="RANK@SECONDS[+SECONDS]",
                     help="SIGSTOP, +SECONDS: and SIGCONT")
    run.add_argument("--clock-from", default="", metavar="TEXT",
                     help="seconds count from the first line of output that has TEXT; default: from the start")
    run.add_argument("--mpirun", action="store_true", help="Open MPI on node 0 starts the ranks on all nodes")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    return parser


def _rates(text, rails):
    try:
        rates = [int(part) for part in text.split(",")] if text else [0]
    except ValueError:
        raise LabError(f"--rate {text}: expected whole numbers of Mbit/s, separated by commas") from None
    if len(rates) == 1:
        rates *= rails
    if len(rates) != rails or min(rates) < 0:
        raise LabError(f"--rate {text}: {len(rates)} rates for {rails} rails")
    return rates


def _events(options):
    events = [event
              for texts, parse in ((options.cut, lab_events.parse_cut),
                                   (options.blackhole, lab_events.parse_blackhole),
                                   (options.rate_change, lab_events.parse_rate_change),
                                   (options.reset, lab_events.parse_reset),
                                   (options.silence, lab_events.parse_silence),
                                   (options.kill, lab_events.parse_kill),
                                   (options.stop, lab_events.parse_stop))
              for text in texts
              for event in parse(text)]
    lab_events.check(events, options.nodes, options.rails, options.nodes * options.ranks_per_node)
    return events


def _check(options):
    for name, low, high in (("nodes", 1, 64), ("rails", 1, 16), ("ranks_per_node", 1, 128)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise LabError(f"--{name.replace('_', '-')} {value}: allowed are {low} to {high}")
    if not 0 <= options.loss < 100:
        raise LabError(f"--loss {options.loss}: allowed are 0 to 100 percent")
    if options.mpirun and (options.kill or options.stop):
        raise LabError("--mpirun: ranks that Open MPI has started cannot be killed or stopped by --kill and --stop")
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LabError("no command given: fabric-lab run [options] -- COMMAND...")
    return command


def _fabric(options):
    rates = _rates(options.rate, options.rails)
    if options.fabric == "qemu":
        return QemuFabric(options.nodes, options.rails, rates, options.loss, options.cut_by)
    return NetnsFabric(options.nodes, options.rails, rates, options.loss)


def _run(options):
    command = _check(options)
    events = _events(options)
    fabric = _fabric(options)
    ranks = Ranks(fabric, options.nodes, options.ranks_per_node, _PORT, options.clock_from)
    code = 1
    folder = tempfile.mkdtemp(prefix="fabric-lab-")
    try:
        if options.mpirun:
            ranks.start_launcher(mpirun.command(fabric, folder, options.nodes, options.ranks_per_node, command))
        else:
            ranks.start(command)
        code = ranks.run(events)
        return code
    finally:
        ranks.stop()
        shutil.rmtree(folder)
        fabric.close(failed=code != 0)


def _interrupt(number, _frame):
    raise SystemExit(128 + number)


def main(arguments):
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options)
    except LabError as error:
        print(f"fabric-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fabric-lab: interrupted; everything it made was removed", file=sys.stderr)
        return 130
    except FileNotFoundError as error:
        print(f"fabric-lab: cannot start {error.filename}", file=sys.stderr)
        return os.EX_UNAVAILABLE
