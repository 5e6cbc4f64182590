# What quickstart and test share: packages, and the build. Sourced, not run.

root_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root_dir

build_packages=(g++ cmake ninja-build pkg-config ccache libfmt-dev libexpected-dev libcli11-dev
  nlohmann-json3-dev libhwloc-dev libsodium-dev libhwy-dev libisal-dev libopenmpi-dev openmpi-bin libibverbs-dev libucx-dev)
lab_packages=(iproute2 nftables util-linux python3)
qemu_packages=(qemu-system-x86 linux-image-amd64 kmod busybox-static cpio rdma-core ibverbs-providers ibverbs-utils
  perftest)
test_packages=(libgtest-dev libgmock-dev libbenchmark-dev clang clang-format clang-tidy python3-venv
  python3-dev libclang-rt-14-dev chromium)

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    fail "installing packages and making network namespaces needs root: run it as root, or install sudo"
  fi
}

# Installs the Debian packages that are not there yet.
install_packages() {
  command -v apt-get >/dev/null || fail "this script installs Debian packages with apt-get, which this system does not have; install these by hand: $*"
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  as_root apt-get update -qq || fail "apt-get update failed: is a Debian mirror configured and reachable?"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
}

# What ccache has to pass over to keep what was compiled with a precompiled header.
export CCACHE_SLOPPINESS=pch_defines,time_macros

# build DIR "TARGET..." [cmake options...]: configures and builds the targets into DIR below the checkout.
build() {
  local dir=$1 targets=$2
  shift 2
  cmake -S "$root_dir" -B "$root_dir/$dir" -G Ninja -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DRAILCCL_FROM_SCRATCH=ON "$@"
  # shellcheck disable=SC2086
  cmake --build "$root_dir/$dir" --parallel "$(nproc)" --target $targets
}
