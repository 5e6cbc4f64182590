"""Open MPI's mpirun on node 0 starts the ranks on all nodes. What it takes for ssh is a script of the lab (plm_rsh_agent)."""
import os
import shutil

from fabric_lab.errors import LabError

# Open MPI's own connections stay off the rails, which events change.
_CONTROL = ["--mca", "oob_tcp_if_include", "mgmt0", "--mca", "btl", "tcp,self,vader", "--mca", "btl_tcp_if_include", "mgmt0"]


def write_agent(folder, text):
    """The script that mpirun calls as AGENT HOST COMMAND..."""
    path = os.path.join(folder, "remote_shell")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def words(agent):
    """The beginning of the command line."""
    return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "plm_rsh_agent", agent, "--mca",
            "plm_rsh_no_tree_spawn", "1", *_CONTROL]


def command(fabric, folder, nodes, ranks_per_node, program):
    """What to run on node 0. `folder` is the lab's own; every node sees it."""
    if shutil.which("mpirun") is None:
        raise LabError("mpirun is not installed; install the Debian package openmpi-bin")
    names = {name for name in os.environ if name.startswith(("RAILCCL_", "NCCL_"))} | set(fabric.environment())
    exports = [word for name in sorted(names) for word in ("-x", name)]
    hosts = ",".join(f"node{node}:{ranks_per_node}" for node in range(nodes))
    return [*words(fabric.remote_shell(folder)), "--host", hosts, "-np", str(nodes * ranks_per_node), *exports, *program]
