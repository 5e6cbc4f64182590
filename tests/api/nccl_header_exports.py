#!/usr/bin/env python3
"""Checks that every function an nccl.h declares is declared in ours and, given a library, exported.

usage: nccl_header_exports.py --ours DIR [--theirs NCCL_H] [--railccl RAILCCL_H --library LIBRARY]

--ours     include/railccl, with nccl.h and pnccl.h
--theirs   the reference nccl.h; without it our own declarations are the reference
--library  librailccl.so.1: pncclX must be a strong and ncclX a weak symbol, railcclX (of
           --railccl) strong, and nothing but nccl*, pnccl* and railccl* may be exported
"""

import argparse
import pathlib
import re
import subprocess
import sys

FUNCTION = re.compile(r"\b(p?nccl[A-Z]\w*|railccl[A-Z]\w*)\s*\(")
ALLOWED = re.compile(r"p?nccl[A-Z]|railccl[A-Z]")


def declared(*paths):
    names = set()
    for path in paths:
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", pathlib.Path(path).read_text(), flags=re.S)
        text = re.sub(r"\"(?:\\.|[^\"\\])*\"", '""', text)
        text = re.sub(r"^\s*#(?:.*\\\n)*.*$", "", text, flags=re.M)
        names |= set(FUNCTION.findall(text))
    return names


def exported(library):
    """Symbol name -> nm's letter, for what `library` defines and exports."""
    text = subprocess.run(
        ["nm", "--dynamic", "--defined-only", library], check=True, text=True, capture_output=True
    ).stdout
    return {line.split()[-1]: line.split()[-2] for line in text.splitlines() if line.strip()}


def check_library(symbols, nccl_names, railccl_names):
    for name in sorted(nccl_names):
        wanted = "T" if name.startswith("p") else "W"
        if symbols.get(name) != wanted:
            yield f"{name}: expected an exported '{wanted}' symbol, found {symbols.get(name)}"
    for name in sorted(railccl_names):
        if symbols.get(name) != "T":
            yield f"{name}: expected an exported 'T' symbol, found {symbols.get(name)}"
    for name in sorted(symbols):
        if not ALLOWED.match(name):
            yield f"{name}: exported, but only nccl*, pnccl* and railccl* may be"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, type=pathlib.Path)
    parser.add_argument("--theirs", type=pathlib.Path)
    parser.add_argument("--railccl", type=pathlib.Path)
    parser.add_argument("--library")
    options = parser.parse_args()

    ours = declared(options.ours / "nccl.h", options.ours / "pnccl.h")
    reference = declared(options.theirs) if options.theirs else ours
    problems = [f"{name}: not declared in our header" for name in sorted(reference - ours)]
    second_names = {"p" + name for name in ours if name.startswith("nccl")}
    problems += [f"{name}: not declared in our header" for name in sorted(second_names - ours)]
    if len(reference) < 80:
        problems.append(f"only {len(reference)} functions found in the reference header")
    if options.library:
        railccl_names = declared(options.railccl) if options.railccl else set()
        problems += check_library(exported(options.library), ours | reference, railccl_names)
    print("\n".join(problems) or f"{len(reference)} functions checked")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
