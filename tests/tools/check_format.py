#!/usr/bin/env python3
"""Holds every source of the repository against .clang-format.

    check_format.py [ROOT]

Prints the places that clang-format would change and exits with 1 when there is one; with 77 where
clang-format 14 is missing (other versions lay out some lines differently).
"""

import pathlib
import re
import shutil
import subprocess
import sys

from check_includes import source_files

VERSION = 14


def find_clang_format():
    """The program, or None."""
    for name in (f"clang-format-{VERSION}", "clang-format"):
        path = shutil.which(name)
        if path is None:
            continue
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        if re.search(rf"version {VERSION}\.", text.stdout):
            return path
    return None


def main(arguments):
    default_root = pathlib.Path(__file__).resolve().parents[2]
    root = pathlib.Path(arguments[0]).resolve() if arguments else default_root
    program = find_clang_format()
    if program is None:
        print(f"SKIP: no clang-format {VERSION} (Debian: clang-format-{VERSION})")
        return 77
    files = source_files(root)
    if not files:
        print(f"no sources found: is {root} the root of the repository?")
        return 1
    run = subprocess.run([program, "--dry-run", "--Werror", *files], cwd=root, check=False)
    if run.returncode != 0:
        print(f"not laid out by .clang-format: run {program} -i on the files named above")
        return 1
    print(f"{len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
