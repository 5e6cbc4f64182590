"""What the end-to-end tests share: running programs, and saying why something was skipped."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

BUILD = sys.argv[1]
SOURCE = sys.argv[2]
BIN = os.path.join(BUILD, "bin")
SKIPPED = 77
PROGRAMS = ["all_reduce", "all_gather", "broadcast", "reduce", "reduce_scatter", "alltoall", "gather", "scatter",
            "sendrecv"]


def run(command, timeout=180, environment=None):
    """(exit code, output) of a command, with stderr in the output."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, check=False, env=os.environ | (environment or {}))
    return done.returncode, done.stdout


def lab(options, command, timeout=180):
    return run([os.path.join(SOURCE, "tools", "fabric-lab"), "run", *options, "--", *command], timeout)


def namespaces_possible():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


def shared_memory():
    """Names of shared memory that the library may have left behind; others may use the machine, too."""
    return {name for name in os.listdir("/dev/shm") if "railccl" in name.lower()}


def read_report(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class LabTest(unittest.TestCase):
    """Runs perftest programs in the lab and reads their reports."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.report = os.path.join(self.folder.name, "out.json")

    def check_run(self, options, program, arguments, environment=()):
        """The report of a run that must end well, with every element right."""
        code, output = lab(options, ["env", *environment, os.path.join(BIN, f"{program}_perf"), *arguments, "--rails",
                                     "-J", self.report])
        self.assertEqual(code, 0, output)
        report = read_report(self.report)
        os.remove(self.report)
        self.assertEqual(report["out_of_bounds"]["count"], 0, output)
        for result in report["results"]:
            self.assertEqual(result["out_of_place"]["nwrong"], 0, output)
            self.assertIn(result["in_place"]["nwrong"], (0, None), output)
        return report

    def per_rail(self, report, field):
        """{rail: sum over the ranks}"""
        sums = {}
        for rail in report["rails"]:
            sums[rail["name"]] = sums.get(rail["name"], 0) + rail[field]
        return sums


def long_case(test):
    """Marks a case that takes a minute or more."""
    test.is_long = True
    return test


class _Loader(unittest.TestLoader):
    """Of the calling file's cases the long ones, the others, or all."""

    def __init__(self, cases):
        super().__init__()
        self._cases = cases

    def getTestCaseNames(self, testCaseClass):
        names = super().getTestCaseNames(testCaseClass)
        if self._cases not in ("long", "short"):
            return names
        wanted = self._cases == "long"
        return [name for name in names if getattr(getattr(testCaseClass, name), "is_long", False) == wanted]


def main():
    """Runs the tests of the calling file, with `long` or `short` after the folders only such cases; exits with 77 when all
    of them were skipped."""
    cases = sys.argv[3] if len(sys.argv) > 3 else ""
    program = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2, testLoader=_Loader(cases))
    result = program.result
    for test, reason in result.skipped:
        print(f"SKIP {test.id()}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun == len(result.skipped) else 0)
