#!/usr/bin/env python3
"""Compiles every header of the repository alone.

    check_headers.py --compiler g++ [--root ROOT] [--jobs 2] [-- FLAG...]

A header that needs something this machine has not (a CUDA or MPI header) is named and left out.
Exits with 1 when one does not compile, or when none was found.
"""

import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

from check_includes import HEADER_SUFFIXES, REPEATED_HEADER, room_of, source_files

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-missing-field-initializers"]
MISSING = re.compile(r"fatal error: ([^:\n]+): No such file or directory")
TIMEOUT_S = 120


def compile_alone(compiler, flags, root, header):
    """None: it compiles; else the compiler's complaint."""
    with tempfile.NamedTemporaryFile("w", suffix=".cc") as source:
        name = header.removeprefix("include/")
        source.write(f'#include "{name}"\n')
        source.flush()
        command = [compiler, "-std=c++20", "-fsyntax-only", *WARNINGS, f"-I{root}",
                   f"-I{root}/include", *flags, source.name]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S,
                                 check=False)
        except subprocess.TimeoutExpired:
            return f"not compiled after {TIMEOUT_S} s"
    return None if run.returncode == 0 else run.stderr


def missing_foreign_header(root, complaint):
    """The header of another package that was not found; None: the complaint is about ours."""
    match = MISSING.search(complaint)
    if not match:
        return None
    name = match.group(1).strip()
    ours = room_of(name) or name.startswith(("tests/", "railccl/")) or (root / name).exists()
    return None if ours else name


def headers(root):
    return [path for path in source_files(root)
            if pathlib.PurePosixPath(path).suffix in HEADER_SUFFIXES
            and not REPEATED_HEADER.search(path)]


def check_headers(root, compiler, flags, jobs):
    """The number of headers, and messages about failed and left out ones."""
    failed, left_out = [], []
    paths = headers(root)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        complaints = pool.map(lambda path: compile_alone(compiler, flags, root, path), paths)
        for path, complaint in zip(paths, complaints):
            if complaint is None:
                continue
            missing = missing_foreign_header(root, complaint)
            if missing:
                left_out.append(f"{path}: left out, {missing} is not on this machine")
            else:
                failed.append(f"{path}: does not compile alone\n{complaint}")
    return len(paths), failed, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    count, failed, left_out = check_headers(options.root.resolve(), options.compiler,
                                            options.flags, options.jobs)
    for message in left_out + failed:
        print(message)
    print(f"{count} headers, {len(failed)} do not compile alone, {len(left_out)} left out")
    return 1 if failed or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
