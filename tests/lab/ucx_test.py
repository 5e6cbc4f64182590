"""UCX rails, over their TCP between network namespaces and over Soft-RoCE in virtual machines: the contract, and rails that are lost and come back."""
import os
import tempfile
import unittest

from qemu_test import missing
from session_case import RAILS, SessionCase, perf
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
        self.assertNotIn("invalid configuration", output, "UCX does not know a setting")
        report = read_report(self.report)
        self.assertEqual(report["out_of_bounds"]["count"], 0, output)
        self.assertEqual({rail["transport"] for rail in report["rails"]}, {"ucx"})
        return report["rails"]

    def test_four_ranks_of_one_host_as_two_nodes(self):
        rails = self.check(*run([os.path.join(BIN, "all_reduce_perf"), "--local", "4", "--virtual-nodes", "2", "-b",
                                 "8", "-e", "4M", "-f", "8", "-n", "3", "--rails", "-J", self.report],
                                environment={"RAILCCL_TRANSPORT": "ucx"}))
        self.assertGreater(sum(rail["bytes"] for rail in rails), 0)

    def check_loss(self, event):
        rails = self.check(*lab(["--nodes", "2", "--rails", "2", "--rate", "500", *event],
                                ["env", "NCCL_NET=UCX", os.path.join(BIN, "all_reduce_perf"), "-b", "4M", "-e", "4M",
                                 "--seconds", "8", "--rails", "-J", self.report]))
        self.assertEqual({rail["name"] for rail in rails if rail["failures"] > 0}, {"rail1"})
        self.assertGreater(sum(rail["recoveries"] for rail in rails), 0)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_rail_that_is_cut_is_left_and_taken_up_again(self):
        self.check_loss(["--cut", "0:1@2+2"])

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_rail_that_swallows_everything_is_dialled_until_it_answers(self):
        self.check_loss(["--blackhole", "0:1@2+4"])


@unittest.skipIf(no_ucx() or missing(), no_ucx() or missing())
class OverSoftRoce(SessionCase):
    def check(self, command, environment=None, **options):
        rails, output = super().check(command, {"RAILCCL_TRANSPORT": "ucx"} | (environment or {}), **options)
        self.assertEqual(sorted(rails), [(rank, name) for rank in (0, 1) for name in RAILS], output)
        for rail in rails.values():
            self.assertEqual(rail["transport"], "ucx", output)
            self.assertGreater(rail["bytes"], 0, output)
        return rails, output

    def test_two_rails_of_one_port_keep_the_contract(self):
        code, output = self.session.run([CONFORMANCE, "--gtest_filter=*/rc*:*/ud*"], nodes=1, timeout=600)
        self.assertEqual(code, 0, output)
        self.assertNotIn("invalid configuration", output, "UCX does not know a setting")
        self.assertRegex(output, r"\[  PASSED  \] [1-9]\d* tests")
        self.assertNotIn("SKIPPED", output)

    def test_ranks_on_two_nodes_reduce_over_both_rails(self):
        self.check(perf("all_reduce", "-b", "8", "-e", "1M", "-f", "8", "-n", "5"))

    def test_a_port_that_is_cut_is_left_and_taken_up_again(self):
        rails, output = self.cut_during("link", [(0, 1)], ["-b", "256K", "-e", "256K", "--seconds", "25"])
        for rank in (0, 1):
            self.assertEqual(rails[rank, "rxe0:1"]["failures"], 0, output)


if __name__ == "__main__":
    main()
