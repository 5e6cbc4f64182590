#!/usr/bin/env python3
"""Compiles every header of the repository alone.

    check_headers.py --compiler g++ [--root ROOT] [--jobs 2] [--all] [-- FLAG...]

A header that is the very first include of a source that the build compiles is proven by the build
already, and compiled here only with --all. A header that needs something this machine has not (a CUDA or MPI header) is named and left out.
Exits with 1 when one does not compile, or when none was found.
"""

import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

from check_includes import (HEADER_SUFFIXES, INCLUDE, REPEATED_HEADER, included_path, room_of,
                            source_files)

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


def is_built(root, source):
    """Whether a CMakeLists.txt of the source's folder, or of one above, names it."""
    file = root / source
    for folder in file.parents:
        listing = folder / "CMakeLists.txt"
        name = file.relative_to(folder).as_posix()
        if listing.exists() and re.search(rf"(?<![\w/]){re.escape(name)}\b", listing.read_text()):
            return True
        if folder == root:
            return False
    return False


def first_included(root, source):
    """The header of ours that a source includes before anything else; None: another one."""
    for line in (root / source).read_text(encoding="utf-8", errors="replace").splitlines():
        match = INCLUDE.match(line)
        if match:
            return included_path(root, source, match.group(1), match.group(2))
    return None


def proven_by_build(root):
    sources = [path for path in source_files(root) if path.endswith((".cc", ".cpp", ".cu"))]
    return {first_included(root, source) for source in sources if is_built(root, source)}


def headers(root):
    return [path for path in source_files(root)
            if pathlib.PurePosixPath(path).suffix in HEADER_SUFFIXES
            and not REPEATED_HEADER.search(path)]


def check_headers(root, compiler, flags, jobs, everything):
    """The number of headers, and messages about failed and left out ones."""
    failed, left_out = [], []
    built = proven_by_build(root)
    # Of a .cuh only CUDA's compiler knows the language.
    proven = {path for path in built if path and path.endswith(".cuh")} if everything else built
    paths = [path for path in headers(root) if path not in proven]
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
    parser.add_argument("--all", action="store_true")
    parser.add_argument("flags", nargs="*")
    options = parser.parse_args()
    count, failed, left_out = check_headers(options.root.resolve(), options.compiler,
                                            options.flags, options.jobs, options.all)
    for message in left_out + failed:
        print(message)
    total = len(headers(options.root))
    print(f"{total} headers, {count} compiled here, {len(failed)} do not compile alone, {len(left_out)} left out")
    return 1 if failed or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
