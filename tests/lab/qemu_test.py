"""The lab of virtual machines: what a rank finds there, output, exit codes, cuts, kills, and that nothing is left behind."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from support import lab, long_case, main

TOOLS = ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "rdma"]


def missing():
    """Why there can be no virtual machine here; empty: there can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not found: tools/test installs the packages"
    if os.geteuid() != 0:
        return "the lab needs root"
    if not any(name.startswith("vmlinuz-") for name in os.listdir("/boot")):
        return "no kernel in /boot: install linux-image-amd64"
    return ""


def qemu(options, script, timeout=170):
    return lab(["--fabric", "qemu", *options], ["sh", "-c", script], timeout)


# In the environment of all that this test starts: other labs may run on the same machine.
_MARK = f"LAB_TEST={os.getpid()}"
os.environ["LAB_TEST"] = str(os.getpid())


def machines():
    """Process ids of the virtual machines of labs that this test has started."""
    listing = subprocess.run(["pgrep", "-f", "^qemu-system-x86_64.*lab_agent="], capture_output=True, text=True,
                             check=False).stdout
    return {process for process in listing.split() if _MARK in environment(process)}


def environment(process):
    try:
        return pathlib.Path("/proc", process, "environ").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:  # it has just ended
        return []


@unittest.skipIf(missing(), missing())
class Qemu(unittest.TestCase):
    def setUp(self):
        self.before = machines()

    def tearDown(self):
        self.assertEqual(machines() - self.before, set(), "a virtual machine was left behind")

    def test_two_nodes_see_their_rails_and_write_where_they_were_started(self):
        with tempfile.TemporaryDirectory() as folder:
            code, output = qemu(["--nodes", "2", "--rails", "2", "--ranks-per-node", "2"],
                                f'echo $RANK/$WORLD_SIZE local $LOCAL_RANK; ls /sys/class/infiniband | xargs echo rails; '
                                f'hostname >{folder}/rank$RANK; touch /etc/written 2>&1; exit $RANK')
            written = {path.name: path.read_text(encoding="utf-8").strip() for path in pathlib.Path(folder).iterdir()}
        self.assertEqual(code, 3, output)
        self.assertEqual(written, {"rank0": "node0", "rank1": "node0", "rank2": "node1", "rank3": "node1"})
        for rank in range(4):
            self.assertIn(f"[{rank}] {rank}/4 local {rank % 2}\n", output)
            self.assertIn(f"[{rank}] rails rxe0 rxe1\n", output)
        self.assertEqual(output.count("Read-only file system"), 4, output)
        self.assertIn("console logs", output)
        shutil.rmtree(re.search(r"console logs of the guests: (\S+)", output).group(1))

    @long_case
    def test_a_cut_ends_and_restores_the_port_and_a_killed_rank_is_told(self):
        state = "cat /sys/class/infiniband/rxe1/ports/1/state"
        code, output = qemu(["--nodes", "1", "--rails", "2", "--ranks-per-node", "2", "--cut", "0:1@1+4", "--kill",
                             "1@8"],
                            f'i=0; while [ $i -lt 60 ]; do {state}; sleep 0.5; i=$((i+1)); done; echo through')
        self.assertEqual(code, 137, output)
        self.assertNotIn("[1] through", output)
        states = [line for line in output.splitlines() if line.startswith("[0] ")]
        seen = [state for number, state in enumerate(states) if number == 0 or states[number - 1] != state]
        self.assertEqual(seen, ["[0] 4: ACTIVE", "[0] 1: DOWN", "[0] 4: ACTIVE", "[0] through"], output)
        shutil.rmtree(re.search(r"console logs of the guests: (\S+)", output).group(1))


if __name__ == "__main__":
    main()
