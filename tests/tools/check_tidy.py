#!/usr/bin/env python3
"""Runs clang-tidy, as .clang-tidy says, over every source of the library.

    check_tidy.py [--root ROOT] [--jobs 2] [-- FLAG...]

Without clang's static analyser, which takes ten times as long (by hand: clang-tidy FILE -- FLAGS). Exits with 1 when
there is a finding or nothing was found to check; with 77 where there is no clang-tidy.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys

from check_includes import HEADER_SUFFIXES
from check_locks import library_files

TIMEOUT_S = 240
FINDING = re.compile(r"^\S+:\d+:\d+: (?:error|warning): ", re.MULTILINE)


def tidy(flags, root, source):
    """None: nothing to say; else what clang-tidy says."""
    command = ["clang-tidy", "--quiet", "--checks=-clang-analyzer-*", source, "--", "-std=c++20", f"-I{root}",
               f"-I{root}/include", *flags]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if run.returncode == 0 and not FINDING.search(run.stdout):
        return None
    return f"{source}:\n{run.stdout}{run.stderr}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    if shutil.which("clang-tidy") is None:
        print("SKIP: no clang-tidy (Debian: clang-tidy)")
        return 77
    root = options.root.resolve()
    # CUDA's own compiler reads its sources; clang of the distribution is older than the toolkit.
    sources = [path for path in library_files(root)
               if pathlib.PurePosixPath(path).suffix not in HEADER_SUFFIXES | {".cu"}]
    findings = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for said in pool.map(lambda source: tidy(options.flags, root, source), sources):
            if said:
                findings += 1
                print(said, flush=True)
    print(f"{len(sources)} sources checked, {findings} with findings")
    return 1 if findings or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
