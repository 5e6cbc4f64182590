"""What the end-to-end tests share: running programs, and saying why something was skipped."""
import json
import os
import subprocess
import sys
import unittest

BUILD = sys.argv[1]
SOURCE = sys.argv[2]
BIN = os.path.join(BUILD, "bin")
SKIPPED = 77


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


def read_report(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    """Runs the tests of the calling file; exits with 77 when all of them were skipped."""
    program = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2)
    result = program.result
    for test, reason in result.skipped:
        print(f"SKIP {test.id()}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun == len(result.skipped) else 0)
