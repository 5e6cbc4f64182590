"""What a guest boots: the distribution's kernel and a small initramfs (busybox, modules, init), kept between runs."""
import gzip
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from fabric_lab import process
from fabric_lab.errors import LabError

_MODULES = ["virtio_pci", "virtio_net", "virtio_console", "9p", "9pnet_virtio", "crc32_generic", "rdma_rxe", "ib_uverbs",
            "rdma_ucm", "sch_tbf", "sch_netem", "nf_tables", "nft_numgen"]

# crc32_generic comes before rdma_rxe, which cannot add a link without it.
_INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
for module in $(busybox cat /modules/order); do
  busybox insmod /modules/$module || busybox echo "module $module does not load"
done
busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose root /host ||
  busybox echo "the host's file system cannot be mounted"
busybox mount -t proc proc /host/proc
busybox mount -t sysfs sysfs /host/sys
busybox mount -t devtmpfs devtmpfs /host/dev
busybox mkdir -p /host/dev/pts /host/dev/shm
busybox mount -t devpts devpts /host/dev/pts
busybox mount -t tmpfs tmpfs /host/dev/shm
busybox mount -t tmpfs tmpfs /host/run
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
busybox chroot /host /usr/bin/python3 -B "$(busybox sed 's/.*lab_agent=\\([^ ]*\\).*/\\1/' /proc/cmdline)"
busybox echo "the lab's agent has ended"
busybox poweroff -f
"""


def find_kernel():
    """(image, version) of the newest kernel whose modules are there."""
    versions = [path.name for path in pathlib.Path("/lib/modules").glob("*")
                if pathlib.Path(f"/boot/vmlinuz-{path.name}").exists() and (path / "modules.dep").exists()]
    if not versions:
        raise LabError("no kernel with modules in /boot and /lib/modules; install the Debian package linux-image-amd64 "
                       "(tools/test does it)")
    newest = max(versions, key=lambda version: [int(part) if part.isdigit() else 0
                                                for part in version.replace("-", ".").split(".")])
    return f"/boot/vmlinuz-{newest}", newest


def _modules(version):
    """Files of all modules, each after those that it needs."""
    files = []
    for module in _MODULES:
        listing = process.run(["modprobe", "--set-version", version, "--show-depends", module])
        for line in listing.splitlines():
            words = line.split()
            if words and words[0] == "insmod" and words[1] not in files:
                files.append(words[1])
    return files


def _cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in (os.path.join(base, "railccl-lab"), os.path.join(tempfile.gettempdir(), "railccl-lab-cache")):
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if os.access(folder, os.W_OK) and os.stat(folder).st_uid == os.geteuid():
                return folder
        except OSError:
            continue
    raise LabError("no folder for the initramfs can be written; set XDG_CACHE_HOME to one")


def _build(version, target):
    busybox = shutil.which("busybox")
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in ("bin", "modules", "proc", "host"):
            (root / name).mkdir()
        shutil.copy(busybox, root / "bin/busybox")
        files = _modules(version)
        for file in files:
            shutil.copy(file, root / "modules")
        (root / "modules/order").write_text("".join(f"{os.path.basename(file)}\n" for file in files), encoding="utf-8")
        (root / "init").write_text(_INIT, encoding="utf-8")
        (root / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], input=names.encode(), cwd=root,
                                 capture_output=True, check=True).stdout
    handle, partial = tempfile.mkstemp(dir=os.path.dirname(target))
    with os.fdopen(handle, "wb") as file:
        file.write(gzip.compress(archive, compresslevel=6))
    os.rename(partial, target)


def initramfs(version):
    """The path of the initramfs for this kernel, built when it is not there yet."""
    key = hashlib.sha256("\n".join([version, _INIT, *_MODULES]).encode()).hexdigest()[:16]
    target = os.path.join(_cache_folder(), f"initramfs-{version}-{key}.cpio.gz")
    if not os.path.exists(target):
        _build(version, target)
    return target
