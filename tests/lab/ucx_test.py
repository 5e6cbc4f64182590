"""UCX rails: over their TCP between network namespaces, a rail cut on the way; the contract over Soft-RoCE in virtual machines."""
import os
import re
import shutil
import tempfile
import unittest

from qemu_test import machines, missing, qemu
from support import BIN, BUILD, lab, main, namespaces_possible, read_report, run

CONFORMANCE = os.path.join(BUILD, "tests", "ucx_conformance_test")


def no_ucx():
    return "" if os.path.exists(CONFORMANCE) else "this build has no UCX rails: libucx-dev was not there"


@unittest.skipIf(no_ucx(), no_ucx())
class OverTcp(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.report = os.path.join(self.folder.name, "out.json")

    def check(self, code, output):
        self.assertEqual(code, 0, output)
        report = read_report(self.report)
        self.assertEqual(report["out_of_bounds"]["count"], 0, output)
        self.assertEqual({rail["transport"] for rail in report["rails"]}, {"ucx"})
        return report["rails"]

    def test_four_ranks_of_one_host_as_two_nodes(self):
        rails = self.check(*run([os.path.join(BIN, "all_reduce_perf"), "--local", "4", "--virtual-nodes", "2", "-b",
                                 "8", "-e", "4M", "-f", "8", "-n", "3", "--rails", "-J", self.report],
                                environment={"RAILCCL_TRANSPORT": "ucx"}))
        self.assertGreater(sum(rail["bytes"] for rail in rails), 0)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_rail_that_is_cut_is_left_and_taken_up_again(self):
        rails = self.check(*lab(["--nodes", "2", "--rails", "2", "--rate", "500", "--cut", "0:1@2+2"],
                                ["env", "NCCL_NET=UCX", os.path.join(BIN, "all_reduce_perf"), "-b", "4M", "-e", "4M",
                                 "--seconds", "6", "--rails", "-J", self.report]))
        self.assertGreater(sum(rail["failures"] for rail in rails), 0)
        self.assertGreater(sum(rail["recoveries"] for rail in rails), 0)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_rail_that_loses_everything_is_noticed(self):
        rails = self.check(*lab(["--nodes", "2", "--rails", "2", "--rate", "500", "--blackhole", "0:1@2"],
                                ["env", "RAILCCL_TRANSPORT=ucx", os.path.join(BIN, "all_reduce_perf"), "-b", "4M",
                                 "-e", "4M", "--seconds", "8", "--rails", "-J", self.report]))
        self.assertGreater(sum(rail["failures"] for rail in rails), 0)


@unittest.skipIf(no_ucx() or missing(), no_ucx() or missing())
class OverSoftRoce(unittest.TestCase):
    def setUp(self):
        self.before = machines()

    def tearDown(self):
        self.assertEqual(machines() - self.before, set(), "a virtual machine was left behind")

    def check(self, code, output):
        self.assertEqual(code, 0, output)
        shutil.rmtree(re.search(r"console logs of the guests: (\S+)", output).group(1))

    def test_two_rails_of_one_port_keep_the_contract(self):
        code, output = qemu(["--nodes", "1", "--rails", "1"], f"{CONFORMANCE} --gtest_filter='*/rc*:*/ud*'",
                            timeout=900)
        self.assertRegex(output, r"\[  PASSED  \] [1-9]\d* tests")
        self.assertNotIn("SKIPPED", output)
        self.check(code, output)

    def test_ranks_on_two_nodes_reduce_over_both_rails(self):
        program = os.path.join(BIN, "all_reduce_perf")
        code, output = qemu(["--nodes", "2", "--rails", "2"],
                            f"RAILCCL_TRANSPORT=ucx {program} -b 8 -e 1M -f 8 -n 5 --rails", timeout=600)
        self.assertIn("# Out of bounds values : 0 OK", output)
        rails = re.findall(r"^\[0\] # +[01] +(\S+) +(\S+) +up +(\d+) ", output, re.MULTILINE)
        self.assertEqual([rail[:2] for rail in rails], [("rxe0:1", "ucx"), ("rxe1:1", "ucx")] * 2, output)
        for _, _, sent in rails:
            self.assertGreater(int(sent), 0, output)
        self.check(code, output)


if __name__ == "__main__":
    main()
