"""The installed library: a CMake package, a pkg-config file and programs that work from another folder."""
import os
import subprocess
import sys
import tempfile
import unittest

BUILD = sys.argv[1]
CONSUMER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "consumer.c")
RIGHT = ["rank 0: right", "rank 1: right"]

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(consumer C)
find_package(RailCCL 0.1 REQUIRED)
add_executable(consumer "{source}")
target_link_libraries(consumer PRIVATE RailCCL::railccl)
"""


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.prefix = os.path.join(cls.folder.name, "prefix")
        cls.must_run(["cmake", "--install", BUILD, "--prefix", cls.prefix])

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @staticmethod
    def must_run(command, **environment):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                              check=False, env=os.environ | environment)
        if done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def run_consumer(self, program, **environment):
        output = self.must_run([program], RAILCCL_DEVICE="host", RAILCCL_SOCKET_IFNAME="lo", **environment)
        self.assertEqual(sorted(output.split("\n"))[-2:], RIGHT, output)

    def library_folder(self):
        for folder, _, files in os.walk(self.prefix):
            if "librailccl.so" in files:
                return folder
        raise AssertionError("no librailccl.so below the prefix")

    def test_cmake_package(self):
        source = os.path.join(self.folder.name, "cmake")
        os.makedirs(source)
        with open(os.path.join(source, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(PROJECT.format(source=CONSUMER))
        self.must_run(["cmake", "-S", source, "-B", f"{source}/build", f"-DCMAKE_PREFIX_PATH={self.prefix}"])
        self.must_run(["cmake", "--build", f"{source}/build"])
        self.run_consumer(f"{source}/build/consumer")

    def test_pkg_config(self):
        packages = os.path.join(self.library_folder(), "pkgconfig")
        flags = self.must_run(["pkg-config", "--cflags", "--libs", "railccl"], PKG_CONFIG_PATH=packages).split()
        for flag in flags:
            if flag.startswith(("-L", "-I")):
                self.assertTrue(flag[2:].startswith(self.prefix), flags)
        program = os.path.join(self.folder.name, "consumer")
        self.must_run(["cc", CONSUMER, "-o", program, "-pthread", *flags])
        self.run_consumer(program, LD_LIBRARY_PATH=self.library_folder())

    def test_programs_find_their_library(self):
        program = os.path.join(self.prefix, "bin", "all_reduce_perf")
        output = self.must_run([program, "--local", "2", "-b", "8", "-e", "64K", "-f", "64", "-n", "2"])
        self.assertIn("# Out of bounds values : 0 OK", output)

    def test_nccl_names(self):
        libraries = os.listdir(self.library_folder())
        for name in ["librailccl.so", "librailccl.so.1", "libnccl.so.2"]:
            self.assertIn(name, libraries)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
