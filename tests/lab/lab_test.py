"""Two nodes and more with several rails in network namespaces: results, what each rail carried, what wrong use gets."""
import os
import re
import unittest

from support import BIN, lab, LabTest, main, namespaces_possible, PROGRAMS, run, SOURCE


@unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
class Lab(LabTest):
    def test_every_collective_over_two_nodes_with_two_ranks_each(self):
        for program in PROGRAMS:
            with self.subTest(program):
                report = self.check_run(["--nodes", "2", "--rails", "2", "--ranks-per-node", "2"], program,
                                        ["-b", "8", "-e", "1M", "-f", "32", "-n", "2"])
                self.assertGreater(sum(rail["bytes"] for rail in report["rails"]), 0)

    def test_three_nodes_odd_sizes(self):
        self.check_run(["--nodes", "3", "--rails", "1"], "all_reduce",
                       ["-b", "1000012", "-e", "1000012", "-n", "2", "-d", "all"])

    def test_unequal_rails_both_carry_the_faster_one_more(self):
        report = self.check_run(["--nodes", "2", "--rails", "2", "--rate", "1000,250"], "all_reduce",
                                ["-b", "16M", "-e", "16M", "-n", "10", "-w", "3"])
        by_rail = self.per_rail(report, "bytes")
        self.assertGreater(by_rail["rail1"], 0)
        self.assertGreater(by_rail["rail0"], by_rail["rail1"])

    def test_a_rail_that_is_cut_is_left_and_taken_up_again(self):
        report = self.check_run(["--nodes", "2", "--rails", "2", "--rate", "500", "--cut", "0:1@2+2"],
                                "all_reduce", ["-b", "4M", "-e", "4M", "--seconds", "5"])
        self.assertGreater(sum(rail["failures"] for rail in report["rails"]), 0)
        self.assertGreater(sum(rail["recoveries"] for rail in report["rails"]), 0)

    def test_a_rail_that_is_cut_changes_the_picture_on_all_ranks_at_the_same_operation(self):
        code, output = lab(["--nodes", "3", "--rails", "2", "--rate", "1000", "--cut", "0:1@2+2"],
                           ["env", "RAILCCL_DEBUG=INFO", "RAILCCL_DEBUG_SUBSYS=TUNING",
                            os.path.join(BIN, "all_gather_perf"), "-b", "1M", "-e", "1M", "--seconds", "10"])
        self.assertEqual(code, 0, output)
        # The program has two communicators, whose lines may come in any order.
        pictures = {}
        for rank, version, text in re.findall(r"rank (\d+): rails, version (\d+) (since operation \d+: .*)", output):
            pictures.setdefault(rank, set()).add((int(version), text))
        self.assertEqual(sorted(pictures), ["0", "1", "2"], output)
        self.assertEqual(pictures["0"], pictures["1"])
        self.assertEqual(pictures["0"], pictures["2"])
        self.assertTrue(any("rank 0: rail 1 down" in text for _, text in pictures["0"]), pictures["0"])
        newest = max(version for version, _ in pictures["0"])
        for text in [text for version, text in pictures["0"] if version == newest]:
            self.assertNotIn("down", text)

    # The last words of each rank, also of those that first notice what follows from the death: a neighbour that has ended,
    # and its memory with it.
    def test_a_killed_rank_is_named_on_every_other(self):
        code, output = lab(["--nodes", "3", "--rails", "2", "--ranks-per-node", "2", "--kill", "3@2"],
                           [os.path.join(BIN, "all_reduce_perf"), "-b", "16M", "-e", "16M", "--seconds", "30"], timeout=60)
        self.assertNotEqual(code, 0)
        for rank in (0, 1, 2, 4, 5):
            self.assertRegex(output, rf"(?m)^\[{rank}\] rank {rank}: .*: rank 3 \(host node1, process \d+\) is lost")

    def test_a_rail_that_does_not_exist_is_named_with_those_that_do(self):
        code, output = lab(["--nodes", "1", "--rails", "2"],
                           ["env", "RAILCCL_RAILS=rail0,rail7", os.path.join(BIN, "all_reduce_perf")])
        self.assertNotEqual(code, 0)
        self.assertIn("rail7", output)
        self.assertIn("rail1", output)


class Usage(unittest.TestCase):
    def test_wrong_options_say_what_is_allowed(self):
        for options, expected in ((["--cut", "0-1@3"], "NODE:RAIL@SECONDS"),
                                  (["--rate", "1000,x"], "whole numbers"),
                                  (["--nodes", "2", "--kill", "9@1"], "ranks 0 to 1"),
                                  (["--stop", "9@1+1"], "--stop names rank 9"),
                                  (["--reset", "0@1"], "NODE:RAIL@SECONDS"),
                                  (["--silence", "5@1"], "silence of 5: there are nodes 0 to 1"),
                                  (["--fabric", "qemu", "--nodes", "9"], "up to 4 nodes")):
            code, output = run([os.path.join(SOURCE, "tools", "fabric-lab"), "run", *options, "--", "true"])
            self.assertEqual(code, 1)
            self.assertIn(expected, output)


if __name__ == "__main__":
    main()
