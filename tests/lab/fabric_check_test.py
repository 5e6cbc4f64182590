"""fabric_check over emulated nodes: a good fabric, one with a slow NIC, one that is unequal on purpose, nodes that die or
stop answering in the middle."""
import json
import os
import tempfile
import unittest

from support import BIN, lab, main, namespaces_possible, read_report

PROGRAM = os.path.join(BIN, "fabric_check")


@unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
class FabricCheck(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.report = self.file("out.json")

    def file(self, name):
        return os.path.join(self.folder.name, name)

    def check(self, options, arguments, expected):
        """Runs it on every node; (report, output)."""
        code, output = lab(options, [PROGRAM, *arguments, "-J", self.report])
        self.assertEqual(code, expected, output)
        return read_report(self.report), output

    def failures(self, report):
        return [finding for finding in report["findings"] if finding["fails"]]

    def test_a_good_fabric_passes(self):
        page = self.file("fabric.html")
        report, output = self.check(["--nodes", "4", "--rails", "2", "--rate", "1000,1000"], ["--html", page], 0)
        self.assertEqual(report["verdict"], "pass", output)
        self.assertEqual(len(report["rails"]), 2)
        for rail in report["rails"]:
            ways = [way for row in rail["matrix"] for way in row if way]
            self.assertEqual([way["state"] for way in ways], ["measured"] * 12)
            for way in ways:
                self.assertLess(way["gbps"], 1.1, "faster than the rail: it was not alone")
        self.assertEqual([each["wrong"] for each in report["collectives"]], [0] * 18)
        for drill in report["drills"]:
            self.assertTrue(drill["went_down"] and drill["came_back"], drill)
            self.assertEqual(drill["wrong"], 0)
        self.assertEqual([each["left_out"] for each in report["all_at_once"]], ["", "", ""])
        self.assertIn("verdict: pass", output)
        others = [line for line in output.splitlines() if line.startswith(("[1]", "[2]", "[3]"))]
        self.assertEqual(others, [], "only rank 0 speaks")
        with open(page, encoding="utf-8") as file:
            self.assertIn("railccl-fabric-report-1", file.read())

    def test_a_slow_nic_is_named(self):
        report, output = self.check(
            ["--nodes", "4", "--rails", "2", "--rate", "1000,1000", "--rate-change", "2:1=100@0"],
            ["--no-collectives", "--no-drill"], 2)
        failures = self.failures(report)
        self.assertEqual([(each["likely"], each["rail"], each["nodes"]) for each in failures],
                         [("nic", 1, ["node2"])], output)
        self.assertIn("FAIL node2, rail 1 (rail1), sending", output)

    def test_rails_that_are_unequal_on_purpose_pass_with_thresholds(self):
        thresholds = self.file("thresholds.json")
        with open(thresholds, "w", encoding="utf-8") as file:
            json.dump({"format": "railccl-fabric-thresholds-1",
                       "rails": {"0": {"min_gbps": 0.5}, "1": {"min_gbps": 0.25}}}, file)
        options = ["--nodes", "4", "--rails", "2", "--rate", "1000,500"]
        self.check(options, ["--thresholds", thresholds, "--no-collectives", "--no-drill"], 0)
        report, output = self.check(options, ["--no-collectives", "--no-drill", "--quiet"], 2)
        self.assertEqual([(each["likely"], each["rail"]) for each in self.failures(report)], [("plane", 1)], output)

    def test_a_rail_that_is_dead_at_one_node_is_named_and_the_rest_is_checked(self):
        report, output = self.check(["--nodes", "3", "--rails", "2", "--rate", "1000", "--blackhole", "1:0@0"],
                                    ["--no-collectives"], 2)
        self.assertEqual([(each["likely"], each["rail"], each["nodes"]) for each in self.failures(report)],
                         [("nic", 0, ["node1"])], output)
        self.assertIn("nothing gets through", output)
        left_out = [each["left_out"] for each in report["drills"]]
        self.assertIn("not all nodes reach each other", left_out[0])
        self.assertIn("have no other rail that works", left_out[1])

    def incomplete(self, rank_2):
        """Rank 0's report when `rank_2`, a shell command that knows the program as $pid, is done to node 2."""
        code, output = lab(["--nodes", "3", "--rails", "2", "--rate", "500"],
                           ["sh", "-c", f"{PROGRAM} --answer 5 --seconds 1 -J {self.report} & pid=$!; "
                            f'if [ "$RANK" = 2 ]; then {rank_2}; fi; wait $pid; echo ended with $?'], timeout=120)
        self.assertEqual(code, 0, output)  # of the shell
        self.assertIn("[0] ended with 3", output)
        report = read_report(self.report)
        self.assertEqual(report["verdict"], "incomplete")
        self.assertEqual([each["node"] for each in report["missing"]], ["node2"], output)
        self.assertIn("MISSING node2, stage '", output)
        # Something was measured before.
        self.assertEqual(len(report["nodes"]), 3)
        return report

    def test_a_node_that_is_killed_is_named_with_the_stage(self):
        self.incomplete("sleep 9; kill -KILL $pid")

    def test_a_node_that_stops_answering_is_named_in_bounded_time(self):
        self.incomplete("sleep 9; kill -STOP $pid; sleep 40; kill -KILL $pid")

    def test_the_time_limit_ends_it_with_what_there_is(self):
        report, output = self.check(["--nodes", "3", "--rails", "2", "--rate", "500"],
                                    ["--seconds", "1", "--time-limit", "8"], 3)
        self.assertEqual(report["verdict"], "incomplete")
        self.assertIn("the time limit of 8 s was over", output)


if __name__ == "__main__":
    main()
