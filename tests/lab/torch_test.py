"""torch.distributed with the railccl backend: every collective against plain arithmetic, and the training example
against gloo, in the lab and with torchrun."""
import os
import re
import shutil
import unittest

from support import lab, main, namespaces_possible, run, SOURCE

PYTHON = os.path.join(SOURCE, ".venv", "bin", "python")
MISSING = os.path.join(SOURCE, ".venv-missing")
EXAMPLE = os.path.join(SOURCE, "examples", "ddp_digits.py")
COLLECTIVES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_collectives.py")


def missing():
    if os.path.exists(MISSING):
        with open(MISSING, encoding="utf-8") as file:
            return file.read().strip()
    return None if os.path.exists(PYTHON) else "PyTorch is not installed (tools/test installs it)"


def losses(output):
    return [float(text) for text in re.findall(r"epoch \d+ loss ([0-9.]+)", output)]


@unittest.skipIf(missing() is not None, missing() or "")
class Torch(unittest.TestCase):
    def torchrun(self, ranks, script, *arguments):
        return run([PYTHON, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--master_addr",
                    "127.0.0.1", "--master_port", "29611", script, *arguments],
                   timeout=240, environment={"RAILCCL_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"})

    def test_every_collective_with_torchrun(self):
        code, output = self.torchrun(3, COLLECTIVES)
        self.assertEqual(code, 0, output)
        self.assertEqual(output.count("all collectives right"), 3, output)

    @unittest.skipIf(shutil.which("mpirun") is None, "mpirun is not installed (openmpi-bin)")
    def test_mpirun_starts_the_training(self):
        code, output = run(["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", "-x", "MASTER_ADDR=127.0.0.1",
                            "-x", "MASTER_PORT=29613", "-x", "OMP_NUM_THREADS=1", PYTHON, EXAMPLE, "--backend", "railccl",
                            "--epochs", "2"], timeout=240, environment={"RAILCCL_SOCKET_IFNAME": "lo"})
        self.assertEqual(code, 0, output)
        self.assertIn("backend railccl ranks 2", output)
        self.assertEqual(len(losses(output)), 2, output)

    def train(self, backend, *arguments):
        code, output = lab(["--nodes", "2", "--rails", "2", "--ranks-per-node", "2"],
                           [PYTHON, EXAMPLE, "--backend", backend, "--epochs", "6", *arguments], timeout=300)
        self.assertEqual(code, 0, output)
        found = losses(output)
        self.assertEqual(len(found), 6, output)
        accuracy = float(re.search(r"accuracy ([0-9.]+)", output).group(1))
        return found, accuracy, output

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_training_reaches_what_gloo_reaches(self):
        expected, expected_accuracy, _ = self.train("gloo")
        for arguments in ((), ("--shard",)):
            found, accuracy, output = self.train("railccl", *arguments)
            for mine, theirs in zip(found, expected):
                self.assertAlmostEqual(mine, theirs, delta=1e-4, msg=output)
            self.assertAlmostEqual(accuracy, expected_accuracy, delta=0.02, msg=output)
        self.assertGreater(expected_accuracy, 0.9)


if __name__ == "__main__":
    main()
