#!/usr/bin/env python3
"""Shows that the checks of check_includes.py, check_headers.py, check_locks.py and
check_format.py catch what they are there for."""

import os
import pathlib
import shutil
import tempfile
import unittest

import check_format
import check_headers
import check_includes
import check_locks

COMPILER = os.environ.get("RAILCCL_TESTS_COMPILER", "g++")
HEADER = "// A header.\n#pragma once\n"


class Tree(unittest.TestCase):
    """A small repository in a temporary folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("src/base/a.h", HEADER)
        self.write("src/core/core.h", HEADER)
        self.write("transport/rail.h", HEADER)
        self.write("transport/tcp/tcp_rail.h", HEADER)
        self.write("transport/verbs/verbs_rail.h", HEADER)
        self.write("cuda/cuda_compute.h", HEADER)
        self.write("include/railccl/nccl.h", "/* NCCL. */\n#ifndef NCCL_H_\n#define NCCL_H_\n#endif\n")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def violations(self):
        return check_includes.check_tree(self.root).violations


class Includes(Tree):
    def expect_include(self, source, target, allowed):
        self.write(source, f'#include "{target}"\n')
        found = self.violations()
        (self.root / source).unlink()
        if allowed:
            self.assertEqual(found, [], f"{source} -> {target}")
        else:
            self.assertEqual(len(found), 1, f"{source} -> {target}: {found}")
            self.assertTrue(found[0].startswith(f"{source}:1: "), found[0])

    def test_a_clean_tree_has_no_violations(self):
        self.assertEqual(self.violations(), [])

    def test_rooms_include_what_the_table_allows(self):
        for source, target in [("transport/link.cc", "src/base/a.h"),
                               ("src/base/b.cc", "src/base/a.h"),
                               ("src/core/a.cc", "transport/rail.h"),
                               ("src/core/wiring.cc", "cuda/cuda_compute.h"),
                               ("src/core/wiring.cc", "transport/tcp/tcp_rail.h"),
                               ("src/api/a.cc", "src/core/core.h"),
                               ("src/api/a.cc", "railccl/nccl.h"),
                               ("perftest/all_reduce.cc", "railccl/nccl.h"),
                               ("perftest/rail_perf/a.cc", "transport/rail.h"),
                               ("perftest/rail_perf/a.cc", "src/core/core.h"),
                               ("tools/railccl_sim/main.cc", "transport/tcp/tcp_rail.h"),
                               ("tests/core/a_test.cc", "transport/tcp/tcp_rail.h"),
                               ("transport/tcp/tcp_rail.cc", "transport/tcp/tcp_rail.h"),
                               ("transport/link.cc", "vector")]:
            self.expect_include(source, target, allowed=True)

    def test_rooms_do_not_include_what_it_forbids(self):
        for source, target in [("src/base/b.cc", "transport/rail.h"),
                               ("transport/link.cc", "src/core/core.h"),
                               ("algorithms/ring.cc", "transport/rail.h"),
                               ("src/compute/a.cc", "cuda/cuda_compute.h"),
                               ("cuda/a.cc", "src/core/core.h"),
                               ("src/core/a.cc", "cuda/cuda_compute.h"),
                               ("src/core/a.cc", "railccl/nccl.h"),
                               ("src/core/a.cc", "transport/tcp/tcp_rail.h"),
                               ("transport/verbs/a.cc", "transport/tcp/tcp_rail.h"),
                               ("transport/link.cc", "transport/tcp/tcp_rail.h"),
                               ("src/api/a.cc", "transport/rail.h"),
                               ("perftest/all_reduce.cc", "transport/rail.h"),
                               ("perftest/railccl_sim.cc", "src/core/core.h"),
                               ("bindings/torch/a.cc", "src/base/a.h"),
                               ("src/core/a.cc", "tests/core/fixture.h")]:
            self.expect_include(source, target, allowed=False)

    def test_relative_includes_are_resolved(self):
        self.write("transport/tcp/a.cc", '#include "tcp_rail.h"\n#include "../verbs/verbs_rail.h"\n')
        self.assertEqual(len(self.violations()), 1)

    def test_a_folder_that_is_no_room_is_found(self):
        self.write("src/misc/a.cc", "int a;\n")
        self.assertIn("lies in no room", self.violations()[0])

    def test_what_a_build_has_written_is_no_source(self):
        self.write("bindings/torch/build/all.cc", '#include "src/core/core.h"\n')
        self.assertEqual(self.violations(), [])
        self.write("bindings/torch/all.cc", '#include "src/core/core.h"\n')
        self.assertEqual(len(self.violations()), 1)

    def test_an_empty_tree_does_not_pass(self):
        with tempfile.TemporaryDirectory() as empty:
            self.assertTrue(check_includes.check_tree(pathlib.Path(empty)).violations)


class Headers(Tree):
    def test_a_header_begins_with_a_comment(self):
        self.write("src/base/b.h", "#pragma once\n")
        self.assertIn("begins with a comment", self.violations()[0])

    def test_a_header_guards_itself(self):
        self.write("src/base/b.h", "// A header.\n")
        self.assertIn("#pragma once", self.violations()[0])
        self.write("src/base/b.h", "// A header.\n#ifndef B_H_\n#define B_H_\n#endif\n")
        self.assertIn("#pragma once", self.violations()[0])

    def test_headers_meant_for_repetition_need_no_guard(self):
        self.write("src/compute/a-inl.h", "// Once per target.\n")
        self.assertEqual(self.violations(), [])

    def test_every_header_compiles_alone(self):
        self.write("src/base/b.h", HEADER + '#include "src/base/a.h"\nint b();\n')
        count, failed, left_out = check_headers.check_headers(self.root, COMPILER, [], 2, False)
        self.assertEqual((count, failed, left_out), (8, [], []))

    def test_a_header_that_does_not_is_found(self):
        self.write("src/base/b.h", HEADER + "std::string b();\n")
        _, failed, left_out = check_headers.check_headers(self.root, COMPILER, [], 2, False)
        self.assertEqual((len(failed), left_out), (1, []))
        self.assertTrue(failed[0].startswith("src/base/b.h: "))

    def test_what_the_build_proves_is_compiled_only_on_demand(self):
        self.write("src/base/b.h", HEADER + "std::string b();\n")
        self.write("src/base/b.cc", '#include "src/base/b.h"\n')
        self.write("src/base/CMakeLists.txt", "railccl_room(base SOURCES ab.cc)\n")
        counts = lambda everything: check_headers.check_headers(self.root, COMPILER, [], 2,
                                                                everything)[0]
        self.assertEqual(counts(False), 8)  # b.cc is in no list
        self.write("src/base/CMakeLists.txt", "railccl_room(base SOURCES a.cc b.cc)\n")
        self.assertEqual(counts(False), 7)
        self.assertEqual(counts(True), 8)
        self.write("src/base/b.cc", '#include <string>\n#include "src/base/b.h"\n')
        self.assertEqual(counts(False), 8)  # <string> comes first and hides what b.h lacks

    def test_a_missing_package_is_named_but_a_missing_header_of_ours_fails(self):
        self.write("cuda/b.h", HEADER + "#include <no_such_package/runtime.h>\n")
        self.write("src/base/b.h", HEADER + '#include "src/base/no_such.h"\n')
        _, failed, left_out = check_headers.check_headers(self.root, COMPILER, [], 2, False)
        self.assertEqual((len(failed), len(left_out)), (1, 1))
        self.assertIn("no_such_package/runtime.h", left_out[0])
        self.assertIn("src/base/b.h", failed[0])


class Environment(Tree):
    def test_only_the_settings_read_it(self):
        read = 'const char* a = std::getenv("A");\n'
        self.write("src/base/settings_source.cc", read)
        self.write("perftest/a.cc", read)
        self.write("tests/base/a.cc", read)
        self.assertEqual(self.violations(), [])
        self.write("src/core/a.cc", "\n" + read)
        self.write("src/base/log.cc", "extern char** environ;\n")
        found = self.violations()
        self.assertEqual(len(found), 2)
        self.assertTrue(found[0].startswith("src/base/log.cc:1: "))
        self.assertTrue(found[1].startswith("src/core/a.cc:2: "))

    def test_words_in_comments_and_texts_do_not_count(self):
        self.write("src/core/a.cc", '// getenv\n/* getenv\n getenv */ const char* a = "getenv";\n')
        self.assertEqual(self.violations(), [])


MUTEX_HEADER = pathlib.Path(__file__).resolve().parents[2] / check_locks.HEADER
GUARDED = """#include "src/base/mutex.h"
railccl::Mutex mutex;
int guarded RAILCCL_GUARDED_BY(mutex) = 0;
"""


@unittest.skipIf(shutil.which("clang++") is None, "no clang++")
class Locks(Tree):
    def setUp(self):
        super().setUp()
        self.write(check_locks.HEADER, MUTEX_HEADER.read_text(encoding="utf-8"))

    def check(self):
        return check_locks.check_locks(self.root, "clang++", [], 2)

    def test_data_is_touched_only_while_its_mutex_is_held(self):
        self.write("src/core/a.cc", GUARDED + "int f() {\n"
                   "  const railccl::MutexLock lock(mutex);\n  return guarded;\n}\n")
        self.assertEqual(self.check(), (["src/core/a.cc"], []))
        self.write("src/core/a.cc", GUARDED + "int f() { return guarded; }\n")
        _, broken = self.check()
        self.assertEqual(len(broken), 1)
        self.assertIn("requires holding mutex", broken[0])

    def test_a_source_is_analysed_for_the_mutexes_of_its_headers(self):
        self.write("src/core/b.h", HEADER + GUARDED)
        self.write("src/core/a.cc", '#include "src/core/b.h"\nvoid f() { guarded = 1; }\n')
        sources, broken = self.check()
        self.assertEqual((sources, len(broken)), (["src/core/a.cc"], 1))

    def test_the_library_uses_no_mutex_without_annotations(self):
        self.write("src/core/a.cc", "#include <mutex>\nstd::mutex a;\n")
        self.write("perftest/a.cc", "#include <mutex>\nstd::mutex a;\n")
        _, broken = self.check()
        self.assertEqual(len(broken), 1)
        self.assertTrue(broken[0].startswith("src/core/a.cc:2: "))


class Format(Tree):
    @unittest.skipIf(check_format.find_clang_format() is None, "no clang-format 14")
    def test_what_clang_format_would_change_is_a_violation(self):
        self.write(".clang-format", "BasedOnStyle: Google\n")
        self.assertEqual(check_format.main([self.root]), 0)
        self.write("src/base/b.cc", "int  b;\n")
        self.assertEqual(check_format.main([self.root]), 1)


if __name__ == "__main__":
    unittest.main()
