#!/usr/bin/env python3
"""Checks the sources against the rooms of the design: who may include whom.

    check_includes.py [ROOT]

Also: every header begins with a comment and guards itself, no backend is named outside its own
folder and wiring.cc, and the environment is read in src/base/settings*.cc only. Prints each
violation as FILE:LINE: what is wrong, and exits with 1 when there is one.
"""

import pathlib
import posixpath
import re
import sys
from dataclasses import dataclass, field

# Room -> rooms whose headers it may include, besides its own. Everything that is tested or that
# starts the library may see more: see EXCEPTIONS.
ROOMS = {
    "src/base": [],
    "transport": ["src/base"],
    "algorithms": ["src/base"],
    "src/compute": ["src/base"],
    "cuda": ["src/base", "src/compute"],
    "src/core": ["src/base", "transport", "algorithms", "src/compute"],
    # base: status and settings are the words in which core answers.
    "src/api": ["src/base", "src/core", "include"],
    "include": [],
    "perftest": ["include"],
    "bindings": ["include"],
    "tools": ["include"],
}
LIBRARY_ROOMS = ["src/base", "transport", "algorithms", "src/compute", "cuda", "src/core", "src/api"]

# Files (by pattern) that may include more rooms.
EXCEPTIONS = [
    (r"src/core/wiring\.cc", ["cuda"]),
    (r"(perftest|tools)/(.*/)?railccl_sim[^/]*(/.*)?", ["src/base", "transport"]),
    # core: the same engine, bootstrap and rail plan as collectives have.
    (r"perftest/rail_perf/.*", ["src/base", "transport", "src/core"]),
]
# Backends of transport, each a folder that only itself and wiring.cc name.
BACKENDS = ["tcp", "verbs", "ucx", "sim"]
MAY_NAME_BACKENDS = re.compile(r"src/core/wiring\.cc|(perftest|tools)/.*")
MAY_READ_ENVIRONMENT = re.compile(r"src/base/settings[^/]*\.cc")

SOURCE_SUFFIXES = {".h", ".hpp", ".cuh", ".c", ".cc", ".cpp", ".cu"}
HEADER_SUFFIXES = {".h", ".hpp", ".cuh"}
# Included several times on purpose (Highway's per-target files).
REPEATED_HEADER = re.compile(r"-inl\.h$")

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
ENVIRONMENT = re.compile(r"\b(?:getenv|secure_getenv|environ)\b")


@dataclass
class Report:
    violations: list = field(default_factory=list)
    files: int = 0

    def add(self, path, line, text):
        self.violations.append(f"{path}:{line}: {text}")


def room_of(path):
    """The room that a path relative to the root lies in; None: outside the rooms."""
    matches = [room for room in ROOMS if path == room or path.startswith(room + "/")]
    return max(matches, key=len) if matches else None


def included_path(root, path, quote, name):
    """The included file relative to the root; None: not ours."""
    if name.startswith("railccl/"):
        return "include/" + name
    if room_of(name) or name.startswith("tests/"):
        return name
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    return beside if quote == '"' and (root / beside).exists() else None


def allowed_rooms(path, room):
    allowed = [room, *ROOMS[room]]
    for pattern, more in EXCEPTIONS:
        if re.fullmatch(pattern, path):
            allowed += more
    return allowed


def backend_of(path):
    match = re.match(r"transport/([^/]+)/", path)
    return match.group(1) if match and match.group(1) in BACKENDS else None


def check_include(path, line, target, report):
    room = room_of(path)
    if target.startswith("tests/"):
        report.add(path, line, f"{room} must not include tests ({target})")
        return
    allowed = allowed_rooms(path, room)
    if room_of(target) not in allowed:
        names = ", ".join(allowed)
        report.add(path, line, f"{room} must not include {target}; it may include {names}")
        return
    backend = backend_of(target)
    if backend and backend != backend_of(path) and not MAY_NAME_BACKENDS.fullmatch(path):
        report.add(path, line, f"only {backend} itself and src/core/wiring.cc may name {target}")


def check_header(path, text, report):
    if not text.startswith(("//", "/*")):
        report.add(path, 1, "a header begins with a comment: what it is, who may call it")
    guarded = "#pragma once" in text
    if path.startswith("include/"):  # C, and NCCL's own guard
        guarded = guarded or re.search(r"^#ifndef \w+_H_", text, re.MULTILINE)
    if not guarded and not REPEATED_HEADER.search(path):
        report.add(path, 1, "a header has #pragma once")


def blanked(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def check_environment(path, text, report):
    if room_of(path) not in LIBRARY_ROOMS or MAY_READ_ENVIRONMENT.fullmatch(path):
        return
    code = COMMENT_OR_TEXT.sub(blanked, text)
    for match in ENVIRONMENT.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        report.add(path, line, "reads the environment; use Settings or process_settings_source()")


def check_file(root, path, report):
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    report.files += 1
    if pathlib.PurePosixPath(path).suffix in HEADER_SUFFIXES:
        check_header(path, text, report)
    if room_of(path) is None:  # tests may include everything
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        target = match and included_path(root, path, match.group(1), match.group(2))
        if target:
            check_include(path, number, target, report)
    check_environment(path, text, report)


def source_files(root):
    """Sources and headers of the rooms and of tests, relative to the root, sorted; not what a build has written."""
    found = []
    for top in sorted({room.split("/")[0] for room in ROOMS} | {"tests"}):
        for file in (root / top).rglob("*"):
            path = file.relative_to(root)
            if file.suffix in SOURCE_SUFFIXES and file.is_file() and "build" not in path.parts:
                found.append(path.as_posix())
    return sorted(found)


def check_tree(root):
    report = Report()
    for path in source_files(root):
        if path.startswith("src/") and room_of(path) is None:
            report.add(path, 1, "lies in no room of the design")
        check_file(root, path, report)
    if report.files == 0:
        report.add(str(root), 0, "no sources found: is this the root of the repository?")
    return report


def main(arguments):
    default_root = pathlib.Path(__file__).resolve().parents[2]
    root = pathlib.Path(arguments[0]).resolve() if arguments else default_root
    report = check_tree(root)
    for violation in report.violations:
        print(violation)
    print(f"{report.files} files, {len(report.violations)} violations")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
