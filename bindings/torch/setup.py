"""Builds the extension against the RailCCL of RAILCCL_BUILD_DIR (default: build/ of this checkout) and takes the library
along, so that the installed package needs nothing else."""
import os
import pathlib
import shutil

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("RAILCCL_BUILD_DIR", ROOT / "build")).resolve()
LIBRARY = BUILD / "lib" / "librailccl.so.1"

if not LIBRARY.exists():
    raise SystemExit(f"{LIBRARY} is not there: build RailCCL first (tools/quickstart), or set "
                     "RAILCCL_BUILD_DIR to its build folder")
shutil.copy2(LIBRARY, HERE / "railccl_torch" / "librailccl.so.1")

# One unit: nearly all of a compilation is PyTorch's headers.
SOURCES = ["backend.cc", "backend_collectives.cc", "calls.cc", "module.cc", "work.cc"]
TOGETHER = HERE / "build" / "railccl_torch.cc"
TOGETHER.parent.mkdir(exist_ok=True)
TOGETHER.write_text("".join(f'#include "{HERE / source}"\n' for source in SOURCES), encoding="utf-8")

setup(
    packages=["railccl_torch"],
    package_data={"railccl_torch": ["librailccl.so.1"]},
    ext_modules=[
        CppExtension(
            "railccl_torch._backend",
            [str(TOGETHER.relative_to(HERE))],
            include_dirs=[str(ROOT / "include"), str(HERE)],
            extra_compile_args=["-std=c++20", "-O2", "-Wall", "-Wno-unknown-pragmas"],
            extra_link_args=[str(HERE / "railccl_torch" / "librailccl.so.1"), "-Wl,-rpath,$ORIGIN"],
        )
    ],
    cmdclass={"build_ext": BuildExtension},
)
