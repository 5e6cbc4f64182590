"""Verbs rails over Soft-RoCE in a virtual machine: the transport contract. Ranks that talk over them: rdma_test.py."""
import os
import re
import unittest

from qemu_test import machines, missing, qemu
from qemu_session import remove_console_logs
from support import BUILD, main


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


if __name__ == "__main__":
    main()
