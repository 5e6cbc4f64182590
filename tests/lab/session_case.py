"""Tests of the *_perf programs in a lab of two virtual machines with two rails each, booted once for a class of tests."""
import os
import re
import tempfile
import unittest

from qemu_session import Session
from qemu_test import machines
from support import BIN, read_report

RAILS = ("rxe0:1", "rxe1:1")


def perf(program, *arguments):
    return [os.path.join(BIN, f"{program}_perf"), *arguments]


class SessionCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.before = machines()
        cls.failed = False
        cls.session = Session(2, 2)

    @classmethod
    def tearDownClass(cls):
        cls.session.close(cls.failed)
        if machines() - cls.before:
            raise AssertionError("a virtual machine was left behind")

    def run(self, result=None):
        faults = len(result.failures) + len(result.errors)
        super().run(result)
        type(self).failed |= len(result.failures) + len(result.errors) > faults

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="railccl-session-", dir="/tmp")
        self.addCleanup(self.folder.cleanup)

    def check(self, command, environment=None, **options):
        """The report of a run that must go well, by (rank, rail name), and its output."""
        wanted = os.path.join(self.folder.name, "out.json")
        code, output = self.session.run([*command, "--rails", "-J", wanted], environment, **options)
        self.assertEqual(code, 0, output)
        self.assertIn("# Out of bounds values : 0 OK", output)
        # The program takes another name when the file is there.
        report = re.search(r"# Writing JSON output to (\S+)", output).group(1)
        return {(rail["rank"], rail["name"]): rail for rail in read_report(report)["rails"]}, output

    def sum_of(self, rails, names, key):
        return sum(rail[key] for (_, name), rail in rails.items() if name in names)

    def cut_during(self, by, cuts, arguments, environment=None, on_cut=None):
        """The report of an AllReduce with these arguments during which these (node, rail) go and come back, and its output."""
        names = {f"rxe{rail}:1" for _, rail in cuts}

        def during(run):
            def of_rails(metric):
                return [run.metric(0, metric, f'rail="{name}"') for name in sorted(names)]
            run.wait("operations", lambda: run.metric(0, "operations_total") > 3)
            for node, rail in cuts:
                self.session.cut(node, rail, by)
            run.wait("failures", lambda: min(of_rails("rail_failures_total")) > 0)
            if on_cut is not None:
                on_cut(run)
            before = run.metric(0, "operations_total")
            run.wait("operations without the rail", lambda: run.metric(0, "operations_total") > before)
            for node, rail in cuts:
                self.session.restore(node, rail, by)
            run.wait("recoveries", lambda: min(of_rails("rail_recoveries_total")) > 0)
        try:
            rails, output = self.check(perf("all_reduce", *arguments), environment, during=during)
        except Exception:  # the machines are there for the next test, too
            for node, rail in cuts:
                self.session.restore(node, rail, by)
            raise
        for rank in (0, 1):
            for name in names:
                self.assertGreater(rails[rank, name]["failures"], 0, output)
                self.assertGreater(rails[rank, name]["recoveries"], 0, output)
        stalls = {key: rail["stall_ms_max"] for key, rail in rails.items()}
        print(f"{self.id()}: longest stall of each rail in ms: {stalls}")
        return rails, output
