#!/usr/bin/env python3
"""Runs the perftest programs as a user would, on the real library.

usage: programs_test.py BIN_DIRECTORY [DIRECTORY_OF_A_LIBCUDA]
"""

import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = None
CUDA = None
COLLECTIVES = (
    "all_reduce all_gather broadcast reduce reduce_scatter alltoall gather scatter sendrecv".split()
)
# In place these two mean nothing, and are not checked.
UNCHECKED_IN_PLACE = ("alltoall", "sendrecv")
LIMIT_S = 120


def run(program, *arguments, **environment):
    return subprocess.run(
        [BIN / program, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def children_of(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def is_running(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def wait_until(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.01)


class Programs(unittest.TestCase):
    def results(self, *command, **environment):
        """The JSON document of a run that must succeed."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out.json"
            done = run(*command, "-J", path, **environment)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return json.loads(path.read_text())

    def check_results(self, document, collective, lines, timed_singly=True):
        self.assertEqual(len(document["results"]), lines)
        for result in document["results"]:
            self.assertEqual(result["out_of_place"]["nwrong"], 0)
            expected = None if collective in UNCHECKED_IN_PLACE else 0
            self.assertEqual(result["in_place"]["nwrong"], expected)
            self.assertGreater(result["out_of_place"]["time"], 0)
            times = result["time_us"]["out_of_place"]
            self.assertEqual(times is not None, timed_singly)
            if not timed_singly:
                continue
            self.assertLessEqual(times["min"], times["p50"])
            self.assertLessEqual(times["p50"], times["max"])

    def test_every_collective_within_a_node(self):
        for collective in COLLECTIVES:
            with self.subTest(collective):
                document = self.results(
                    f"{collective}_perf", "--local", 3, "-b", 64, "-e", "256K", "-f", 64, "-n", 2
                )
                self.check_results(document, collective, 3)

    def test_every_collective_between_nodes(self):
        for collective in COLLECTIVES:
            with self.subTest(collective):
                document = self.results(
                    f"{collective}_perf", "--local", 4, "--virtual-nodes", 2,
                    "-b", "1K", "-e", "1M", "-f", 1024, "-n", 2,
                )  # fmt: skip
                self.check_results(document, collective, 2)
                # Data of up to RAILCCL_EAGER_BYTES travels in messages, which are not counted.
                # Ranks that sent to no other node may have no rail yet.
                self.assertTrue({rail["rank"] for rail in document["rails"]} <= {0, 1, 2, 3})
                self.assertGreater(sum(rail["bytes"] for rail in document["rails"]), 0)

    def test_every_type_and_operator(self):
        document = self.results(
            "all_reduce_perf", "--local", 3, "-b", "4K", "-e", "4K", "-d", "all", "-o", "all",
            "-n", 1, "-w", 0,
        )  # fmt: skip
        self.check_results(document, "all_reduce", 12 * 6)

    def test_threads_processes_and_both(self):
        for start in (["-t", 3], ["--local", 2, "-t", 2], ["-t", 2, "-p", 1]):
            with self.subTest(start):
                document = self.results(
                    "all_reduce_perf", *start, "-b", "1K", "-e", "64K", "-f", 64, "-n", 2
                )
                self.check_results(document, "all_reduce", 2)

    def test_environment_of_torchrun(self):
        port = 10000 + os.getpid() % 20000
        ranks = [
            subprocess.Popen(
                [BIN / "all_reduce_perf", "-b", "1K", "-e", "1K", "-n", "2"],
                env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
                     "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for rank in range(2)
        ]  # fmt: skip
        said = [rank.communicate(timeout=LIMIT_S) for rank in ranks]
        self.assertEqual([rank.returncode for rank in ranks], [0, 0], said)
        self.assertIn("# Out of bounds values : 0 OK", said[0][0])
        self.assertEqual(said[1][0], "")

    def test_bad_options_are_usage_errors(self):
        done = run("all_reduce_perf", "--frobnicate")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--frobnicate", done.stderr)
        done = run("all_reduce_perf", "--local", 2, "-r", 5, "-b", "1K", "-e", "1K")
        self.assertEqual(done.returncode, 0)  # no root here
        done = run("broadcast_perf", "--local", 2, "-r", 5, "-b", "1K", "-e", "1K")
        self.assertEqual(done.returncode, 1)
        self.assertIn("-r 5: there are only 2 ranks", done.stderr)

    def test_processes_on_memory_of_a_gpu(self):
        if CUDA is None:
            self.skipTest("no stand-in for the CUDA driver was given")
        if "CUDA: yes" not in run("railccl_info").stdout:
            self.skipTest("this build found no nvcc")
        gpu = {"RAILCCL_DEVICE": "cuda", "LD_LIBRARY_PATH": str(CUDA)}
        for collective in COLLECTIVES:
            with self.subTest(collective):
                document = self.results(
                    f"{collective}_perf", "--local", 2, "-b", 64, "-e", "256K", "-f", 64, "-n", 2, **gpu
                )
                self.check_results(document, collective, 3, timed_singly=False)
                names = {device["device_info"] for device in document["devices"]}
                self.assertEqual(names, {"stand-in for a GPU"})
        document = self.results("all_reduce_perf", "--local", 2, "-b", "4K", "-e", "4K", "-G", 2, **gpu)
        self.check_results(document, "all_reduce", 1, timed_singly=False)
        self.assertEqual(document["config"]["graph"], 2)

    def test_memory_of_a_gpu_without_a_driver(self):
        try:
            ctypes.CDLL("libcuda.so.1")
            self.skipTest("this machine has a CUDA driver")
        except OSError:
            pass
        for start in ([], ["--local", 2]):
            done = run("all_reduce_perf", *start, RAILCCL_DEVICE="cuda")
            self.assertEqual(done.returncode, 1)
            self.assertIn("RAILCCL_DEVICE=cuda: this machine has no CUDA driver", done.stderr)
            self.assertIn("unset RAILCCL_DEVICE", done.stderr)
            self.assertEqual(done.stdout, "")

    def test_a_killed_rank_ends_the_run(self):
        launcher = subprocess.Popen(
            [BIN / "all_reduce_perf", "--local", "3", "-b", "64K", "-e", "64K", "-N", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines = (launcher.stdout.readline() for _ in range(1000))
        next(line for line in lines if not line.startswith("#"))
        ranks = children_of(launcher.pid)
        self.assertEqual(len(ranks), 3)
        os.kill(ranks[1], signal.SIGKILL)
        _, errors = launcher.communicate(timeout=LIMIT_S)
        self.assertEqual(launcher.returncode, 128 + signal.SIGKILL, errors)
        self.assertIn("[rank 1] killed by signal 9", errors)
        # The others ended by themselves, with an error that names the rank.
        self.assertNotIn("did not end in time", errors)
        self.assertRegex(errors, r"\[rank [02]\] .*rank 1")
        wait_until(lambda: not any(is_running(rank) for rank in ranks))

    def test_interrupting_leaves_no_rank(self):
        launcher = subprocess.Popen(
            [BIN / "all_reduce_perf", "--local", "3", "-b", "64K", "-e", "64K", "-N", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(lambda: len(children_of(launcher.pid)) == 3)
        ranks = children_of(launcher.pid)
        launcher.send_signal(signal.SIGINT)
        launcher.communicate(timeout=LIMIT_S)
        self.assertEqual(launcher.returncode, 128 + signal.SIGINT)
        wait_until(lambda: not any(is_running(rank) for rank in ranks))

    def test_info_and_explain(self):
        done = run("railccl_info")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("RailCCL", done.stdout)
        json.loads(run("railccl_info", "--json").stdout)
        settings = run("railccl_info", "--env")
        self.assertEqual(settings.returncode, 0, settings.stderr)
        self.assertIn("RAILCCL_RAILS", settings.stdout)
        done = run("railccl_explain", "--local", 2, "--virtual-nodes", 2, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        json.loads(done.stdout)
        done = run("railccl_explain", "all_reduce", "-b", "1M", "--local", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(run("railccl_explain", "frobnicate").returncode, 1)

    def test_explain_measures_what_it_predicts(self):
        done = run("railccl_explain", "reduce", "-b", "1M", "--measure", "--json", "--local", 2, "--virtual-nodes", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        (row,) = json.loads(done.stdout)["predicted_and_measured"]
        self.assertEqual((row["collective"], row["largest_bytes"], row["operations"]), ("Reduce", 1 << 20, 11))
        self.assertGreater(row["predicted_us"], 0)
        self.assertGreater(row["measured_us"], 0)
        done = run("railccl_explain", "--measure", "--local", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("ratio", done.stdout)

    def test_info_refuses_unknown_options(self):
        self.assertEqual(run("railccl_info", "--frobnicate").returncode, 1)


if __name__ == "__main__":
    BIN = pathlib.Path(sys.argv.pop(1))
    if len(sys.argv) > 1 and pathlib.Path(sys.argv[1]).is_dir():
        CUDA = pathlib.Path(sys.argv.pop(1))
    unittest.main(verbosity=2)
