"""Verbs rails over Soft-RoCE in virtual machines: the transport contract, and ranks that talk over them."""
import os
import re
import shutil
import unittest

from qemu_test import machines, missing, qemu
from support import BUILD, main


def remove_console_logs(output):
    for folder in re.findall(r"console logs of the guests: (\S+)", output):
        shutil.rmtree(folder)


@unittest.skipIf(missing(), missing())
class Verbs(unittest.TestCase):
    def setUp(self):
        self.before = machines()

    def tearDown(self):
        self.assertEqual(machines() - self.before, set(), "a virtual machine was left behind")

    def test_two_rails_of_one_port_keep_the_contract(self):
        program = os.path.join(BUILD, "tests", "verbs_conformance_test")
        code, output = qemu(["--nodes", "1", "--rails", "1"], program, timeout=600)
        self.assertEqual(code, 0, output)
        passed = re.search(r"\[  PASSED  \] (\d+) tests", output)
        self.assertIsNotNone(passed, output)
        self.assertGreater(int(passed.group(1)), 0, output)
        self.assertNotIn("SKIPPED", output)
        remove_console_logs(output)

    def test_ranks_on_two_nodes_reduce_over_both_rails(self):
        program = os.path.join(BUILD, "bin", "all_reduce_perf")
        code, output = qemu(["--nodes", "2", "--rails", "2"],
                            f"RAILCCL_TRANSPORT=verbs {program} -b 8 -e 1M -f 8 -n 5 --rails", timeout=600)
        self.assertEqual(code, 0, output)
        self.assertIn("# Out of bounds values : 0 OK", output)
        rails = re.findall(r"^\[0\] # +([01]) +(\S+) +(\S+) +up +(\d+) ", output, re.MULTILINE)
        self.assertEqual([rail[:3] for rail in rails],
                         [(rank, name, "verbs") for rank in "01" for name in ["rxe0:1", "rxe1:1"]], output)
        for rank, name, _, sent in rails:
            self.assertGreater(int(sent), 0, f"rank {rank} {name}\n{output}")
        remove_console_logs(output)


if __name__ == "__main__":
    main()
