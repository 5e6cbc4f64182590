#!/usr/bin/env python3
"""Runs clang-tidy, as .clang-tidy says, over every source of the library.

    check_tidy.py [--root ROOT] [--jobs 2] [-- FLAG...]

Most of what clang-tidy does is to read headers, so the sources of a folder are read together. Without clang's static
analyser, which takes ten times as long (by hand: clang-tidy FILE -- FLAGS). Exits with 1 when there is a finding or
nothing was found to check; with 77 where there is no clang-tidy.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from check_includes import HEADER_SUFFIXES
from check_locks import library_files

TIMEOUT_S = 600
BATCH = 16
# These name their functions alike.
ALONE = re.compile(r"perftest/collectives/|transport/ucx/ucx_missing")
HEADERS_AND_SOURCES = r"/(src|transport|algorithms|cuda|perftest)/.*\.(h|cc)$"
FINDING = re.compile(r"^\S+:\d+:\d+: (?:error|warning): ", re.MULTILINE)


def batches(root, sources):
    """The sources by folder, at most BATCH in one; alone: those that cannot be compiled together with others."""
    by_folder = {}
    for source in sources:
        text = (root / source).read_text(encoding="utf-8")
        alone = ALONE.match(source) or "foreach_target.h" in text
        by_folder.setdefault(source if alone else str(pathlib.PurePosixPath(source).parent), []).append(source)
    return [files[at:at + BATCH] for files in by_folder.values() for at in range(0, len(files), BATCH)]


def tidy(flags, root, batch):
    """None: nothing to say; else what clang-tidy says."""
    with tempfile.TemporaryDirectory() as folder:
        together = pathlib.Path(folder) / "batch.cc"
        together.write_text("".join(f'#include "{root / source}"  // NOLINT\n' for source in batch), encoding="utf-8")
        command = ["clang-tidy", "--quiet", f"--config-file={root / '.clang-tidy'}", "--checks=-clang-analyzer-*",
                   f"--header-filter={HEADERS_AND_SOURCES}", str(together), "--", "-std=c++20", f"-I{root}",
                   f"-I{root}/include", *flags]
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if run.returncode == 0 and not FINDING.search(run.stdout):
        return None
    return f"{' '.join(batch)}:\n{run.stdout}{run.stderr}"


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
        for said in pool.map(lambda batch: tidy(options.flags, root, batch), batches(root, sources)):
            if said:
                findings += 1
                print(said, flush=True)
    print(f"{len(sources)} sources checked, {findings} batches with findings")
    return 1 if findings or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
