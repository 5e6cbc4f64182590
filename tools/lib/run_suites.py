"""Runs ctest in one or more build folders and sums up: failures with their output, skips with their reasons."""
import argparse
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

_MAX_OUTPUT_LINES = 120


def parse_suite(text):
    """NAME:DIR, NAME:DIR:only=REGEX for some of the tests there, or NAME:DIR:short for those without the label long."""
    parts = text.split(":")
    option = parts[2] if len(parts) > 2 else ""
    return parts[0], parts[1], option


def run_ctest(directory, option):
    junit = pathlib.Path(directory) / "junit.xml"
    junit.unlink(missing_ok=True)
    command = ["ctest", "--test-dir", directory, "--parallel", "2", "--output-junit", "junit.xml",
               "--timeout", "900", "--no-tests=error", "--repeat", "until-pass:2"]
    if option.startswith("only="):
        command += ["--tests-regex", option.removeprefix("only=")]
    else:
        command += ["--label-exclude", "full|long" if option == "short" else "full"]
    repeated = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if re.match(r"^ *(\d+/\d+)? *Test +#", line):
                print(line, end="", flush=True)
            failed = re.search(r"Test +#\d+: (\S+) .*\*\*\*", line)
            if failed and "Skipped" not in line:
                repeated.append(failed.group(1))
    if not junit.exists():  # ctest was ended, or found no build
        return xml.etree.ElementTree.Element("testsuite"), repeated
    return xml.etree.ElementTree.parse(junit).getroot(), repeated


def skipped_cases(output):
    """(case, reason) of the GoogleTest cases that skipped; the reason is the line after 'Skipped'."""
    lines = output.splitlines()
    found = []
    for number, line in enumerate(lines):
        match = re.match(r"^\[  SKIPPED \] (\S+) \(\d+ ms\)$", line)
        if not match:
            continue
        before = [text for text in lines[max(0, number - 3):number]
                  if text and not text.endswith("Skipped") and not text.startswith("[")]
        found.append((match.group(1), before[-1] if before else "no reason given"))
    return found


class Summary:
    """Counts over all suites."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []
        self.second_try = []

    def add(self, suite, root, repeated):
        cases = root.findall("testcase")
        if not cases:
            self.failed.append((suite, "ctest left no report of a test: was it ended?"))
        for case in cases:
            name = f"{suite}: {case.get('name')}"
            if case.get("status") == "run" and case.get("name") in repeated:
                self.second_try.append(name)
            output = case.findtext("system-out") or ""
            self.skipped += [(f"{name}: {test}", reason) for test, reason in skipped_cases(output)]
            status = case.get("status")
            if status == "run":
                self.passed += 1
            elif status in ("notrun", "disabled"):
                reason = next((line for line in output.splitlines() if line.startswith("SKIP")), status)
                self.skipped.append((name, reason))
            else:
                self.failed.append((name, output))

    def print(self):
        for name, output in self.failed:
            print(f"\n=== FAILED {name}")
            print("\n".join(output.splitlines()[-_MAX_OUTPUT_LINES:]))
        if self.skipped:
            print("\nskipped:")
            for name, reason in self.skipped:
                print(f"  {name}: {reason}")
        for name in self.second_try:
            print(f"failed, then passed at the second try: {name}")
        for name, _ in self.failed:
            print(f"failed: {name}")
        print(f"\n{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", action="append", required=True, type=parse_suite)
    options = parser.parse_args()
    summary = Summary()
    for name, directory, option in options.suite:
        print(f"\n== {name}", flush=True)
        summary.add(name, *run_ctest(directory, option))
    summary.print()
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
