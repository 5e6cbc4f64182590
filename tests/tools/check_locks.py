#!/usr/bin/env python3
"""Proves with clang's thread-safety analysis that what src/base/mutex.h's words promise is kept.

    check_locks.py [--root ROOT] [--compiler clang++] [--jobs 2] [-- FLAG...]

Every source that sees a mutex, in its own text or in a header that it includes, is analysed. In the
library no mutex is a std::mutex, which the analysis does not know. Exits with 1 when a promise is
broken or nothing was found to analyse; with 77 where there is no clang.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys

from check_includes import HEADER_SUFFIXES, INCLUDE, LIBRARY_ROOMS, included_path, room_of, source_files

HEADER = "src/base/mutex.h"
STANDARD_MUTEX = re.compile(r"std::(?:mutex|timed_mutex|recursive_mutex|shared_mutex|lock_guard|"
                            r"unique_lock|scoped_lock)\b")
TIMEOUT_S = 240


def library_files(root):
    return [path for path in source_files(root) if room_of(path) in LIBRARY_ROOMS]


def unannotated(root):
    """FILE:LINE of mutexes of the library that the analysis does not know."""
    found = []
    for path in library_files(root):
        if path == HEADER:
            continue
        for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
            if STANDARD_MUTEX.search(line.split("//")[0]):
                found.append(f"{path}:{number}: a mutex of the library is a Mutex ({HEADER})")
    return found


def includes_of(root, path):
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    matches = [INCLUDE.match(line) for line in lines]
    return {included_path(root, path, match.group(1), match.group(2)) for match in matches if match}


def sources_with_mutexes(root):
    """Sources that include the header themselves or by their own header or one that they name."""
    files = library_files(root)
    holders = {path for path in files if HEADER in includes_of(root, path)}
    return [path for path in files if pathlib.PurePosixPath(path).suffix not in HEADER_SUFFIXES
            and (path in holders or includes_of(root, path) & holders)]


def analyse(compiler, flags, root, source):
    """None: the promises are kept; else clang's complaint."""
    command = [compiler, "-std=c++20", "-fsyntax-only", "-Wthread-safety", "-Werror=thread-safety",
               f"-I{root}", f"-I{root}/include", *flags, source]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=TIMEOUT_S,
                         check=False)
    return None if run.returncode == 0 else run.stderr


def check_locks(root, compiler, flags, jobs):
    """The analysed sources, and messages about broken promises."""
    sources = sources_with_mutexes(root)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        complaints = pool.map(lambda source: analyse(compiler, flags, root, source), sources)
        broken = [f"{source}:\n{complaint}" for source, complaint in zip(sources, complaints)
                  if complaint]
    return sources, unannotated(root) + broken


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--compiler", default="clang++")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    if shutil.which(options.compiler) is None:
        print(f"SKIP: no {options.compiler} (Debian: clang)")
        return 77
    sources, failed = check_locks(options.root.resolve(), options.compiler, options.flags,
                                  options.jobs)
    for message in failed:
        print(message)
    print(f"{len(sources)} sources analysed, {len(failed)} broken promises")
    return 1 if failed or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
