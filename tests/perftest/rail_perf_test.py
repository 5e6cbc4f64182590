#!/usr/bin/env python3
"""Runs rail_perf as a user would, between two virtual nodes of this machine.

usage: rail_perf_test.py RAIL_PERF
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM = None
LIMIT_S = 120
TWO_NODES = ["--local", "2", "--virtual-nodes", "2"]
QUICK = ["-D", "0.02", "-w", "5"]


def run(*arguments, **environment):
    return subprocess.run([PROGRAM, *map(str, arguments)], env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=LIMIT_S)


class RailPerf(unittest.TestCase):
    def report(self, *arguments, exit_code=0, **environment):
        """(JSON document, text) of a run over the loopback interface."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out.json"
            environment.setdefault("RAILCCL_SOCKET_IFNAME", "lo")
            done = run(*arguments, "-J", path, **environment)
            self.assertEqual(done.returncode, exit_code, done.stdout + done.stderr)
            return json.loads(path.read_text()), done.stdout

    def check_bandwidth(self, result):
        way = result["one_way"]
        self.assertEqual(way["bytes"], way["iterations"] * result["size"])
        self.assertGreater(way["seconds"], 0)
        self.assertGreaterEqual(way["mbytes_per_s_peak"], way["mbytes_per_s"] * 0.999)
        self.assertEqual(sum(rail["bytes"] for rail in way["rails"]), way["bytes"])
        self.assertAlmostEqual(sum(rail["share"] for rail in way["rails"]), 1)
        both = result["both_ways"]
        for direction in ("from_first", "from_second"):
            self.assertGreater(both[direction]["iterations"], 0)
        fastest = both["from_first"]["mbytes_per_s"] + both["from_second"]["mbytes_per_s"]
        self.assertLessEqual(both["mbytes_per_s"], fastest * 1.001)

    def check_latency(self, result):
        times = result["half_round_trip_us"]
        self.assertGreater(result["iterations"], 0)
        order = [times[name] for name in ("min", "p50", "p95", "p99", "p99.9", "max")]
        self.assertEqual(order, sorted(order))
        self.assertGreater(times["min"], 0)

    def test_everything_over_one_rail(self):
        document, text = self.report(*TWO_NODES, *QUICK)
        self.assertTrue(document["ok"], text)
        self.assertEqual([rail["name"] for rail in document["nodes"][1]["rails"]], ["lo"])
        self.assertEqual(len(document["links"]), 1)
        link = document["links"][0]
        sizes = [8 * 8**k for k in range(7)]
        self.assertEqual([result["size"] for result in link["bandwidth"]], sizes)
        self.assertEqual([result["size"] for result in link["latency"]], sizes)
        self.assertEqual([result["size"] for result in link["rate"]], [8, 64, 512, 4096, 32768])
        for result in link["bandwidth"]:
            self.check_bandwidth(result)
        for result in link["latency"]:
            self.check_latency(result)
        for result in link["rate"]:
            self.assertGreater(result["puts"], 0)
            self.assertGreater(result["messages"], 0)
        windows = [max(2, min(128, (4 << 20) // size)) for size in sizes]
        expected = 2 * sum(size * window for size, window in zip(sizes, windows))
        self.assertEqual(link["check"], {"bytes": expected, "wrong": 0, "first_mistake": ""})
        for words in ("t_typical", "BW average", "none wrong", "# OK"):
            self.assertIn(words, text)

    def test_iterations_are_counted_exactly(self):
        document, _ = self.report(*TWO_NODES, "-n", 33, "-b", "64", "-e", "4K", "--bandwidth", "--latency", "--rate")
        link = document["links"][0]
        self.assertEqual([result["one_way"]["iterations"] for result in link["bandwidth"]], [33] * 3)
        self.assertEqual([result["iterations"] for result in link["latency"]], [33] * 3)
        self.assertEqual([result["messages"] for result in link["rate"]], [33] * 3)
        self.assertNotIn("both_ways", link["bandwidth"][0])

    def test_every_way_of_waiting_and_checksums(self):
        for poll in ("spin", "adaptive", "sleep"):
            with self.subTest(poll):
                document, _ = self.report(*TWO_NODES, *QUICK, "--poll", poll, "-b", "8", "-e", "32K", "-f", "4096",
                                          RAILCCL_CHECK="1")
                self.assertTrue(document["ok"])
                self.assertIn(f"poll {poll}", document["settings"])
                self.assertIn("check on", document["settings"])

    def test_only_two_of_several_ranks_take_part(self):
        document, _ = self.report("--local", "6", "--virtual-nodes", "3", "--pair", "2,1", *QUICK, "--latency",
                                  "-e", "8")
        self.assertEqual([node["rank"] for node in document["nodes"]], [4, 2])
        self.assertEqual([node["node"] for node in document["nodes"]], [2, 1])
        self.check_latency(document["links"][0]["latency"][0])

    def test_wrong_arguments_say_how_it_is_used(self):
        for arguments in (["--nonsense"], ["-b", "2M", "-e", "1M"], ["--local", "2"], ["-J", "out.txt"]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("Usage: rail_perf", done.stderr)

    def test_one_node_is_not_enough(self):
        done = run(*QUICK, RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29400")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("--virtual-nodes 2", done.stderr)

    def test_unknown_rail_is_named_with_those_there_are(self):
        done = run(*TWO_NODES, "-x", "eth77", RAILCCL_SOCKET_IFNAME="lo")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("no rail 'eth77'", done.stderr)
        self.assertIn("there are: lo", done.stderr)

    def test_a_run_that_would_measure_nothing_says_why(self):
        done = run(*TWO_NODES, *QUICK, "--rate", "-b", "64K", RAILCCL_SOCKET_IFNAME="lo")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("up to 32768 bytes", done.stderr)
        self.assertIn("-b 65536 leaves nothing to measure", done.stderr)

    def test_a_report_that_is_there_is_kept_and_the_new_ones_name_said(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out.json"
            path.write_text("old")
            done = run(*TWO_NODES, *QUICK, "--latency", "-e", "8", "-x", "lo", "-J", path, RAILCCL_SOCKET_IFNAME="lo")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(path.read_text(), "old")
            self.assertIn(f"# Writing JSON output to {path}.0\n", done.stdout)
            self.check_latency(json.loads(pathlib.Path(f"{path}.0").read_text())["links"][0]["latency"][0])

    def test_an_interrupt_ends_both_sides_and_keeps_what_was_measured(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out.json"
            program = subprocess.Popen([PROGRAM, *TWO_NODES, "-D", "60", "--latency", "-J", path],
                                       env={**os.environ, "RAILCCL_SOCKET_IFNAME": "lo"}, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            while "t_typical" not in program.stdout.readline():
                self.assertIsNone(program.poll())
            program.send_signal(signal.SIGINT)
            output, errors = program.communicate(timeout=LIMIT_S)
            self.assertEqual(program.returncode, 128 + signal.SIGINT, output + errors)
            self.assertIn("interrupted", errors)
            self.assertNotIn("did not end in time", errors)
            self.assertNotIn("invalid pointer", errors)
            document = json.loads(path.read_text())
        self.assertFalse(document["ok"])
        self.assertIn("interrupted", document["error"])
        self.assertEqual(document["links"][0]["check"]["wrong"], 0)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
