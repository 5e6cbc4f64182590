"""Processes that end with the lab, also when the lab is killed."""
import ctypes
import os
import shutil
import signal
import subprocess

from fabric_lab.errors import LabError

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _die_with_parent():
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, **options):
    return subprocess.Popen(command, preexec_fn=_die_with_parent, **options)


def run(command):
    """Runs a short command; an error carries what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def require_tools(tools):
    """`tools` maps a program to the Debian package that has it."""
    missing = {package for program, package in tools.items() if shutil.which(program) is None}
    if missing:
        raise LabError(f"missing programs; install the Debian packages {', '.join(sorted(missing))} "
                       "(tools/quickstart and tools/test do it)")


def require_root():
    if os.geteuid() != 0:
        raise LabError("network namespaces need root: run it with sudo, or as root in a container "
                       "with CAP_NET_ADMIN and CAP_SYS_ADMIN")
