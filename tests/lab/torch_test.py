"""torch.distributed with the railccl backend: every collective against plain arithmetic, and the training example
against gloo, in the lab and with torchrun."""
import os
import re
import shutil
import unittest

from support import lab, long_case, main, namespaces_possible, run, SOURCE

PYTHON = os.path.join(SOURCE, ".venv", "bin", "python")
MISSING = os.path.join(SOURCE, ".venv-missing")
EXAMPLE = os.path.join(SOURCE, "examples", "ddp_digits.py")
HERE = os.path.dirname(os.path.abspath(__file__))
COLLECTIVES = os.path.join(HERE, "torch_collectives.py")
FAILURES = os.path.join(HERE, "torch_failures.py")
RANKS = 4


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

    def train(self, backend, *arguments, lab_options=()):
        code, output = lab(["--nodes", "2", "--rails", "2", "--ranks-per-node", "2", *lab_options],
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

    @long_case
    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_training_with_a_rail_cut_in_each_epoch_is_bit_identical(self):
        rate = ["--rate", "60"]
        # From the end of the first epoch on: a rail that is named and down at the start is refused.
        cuts = ["--clock-from", "epoch 1 loss"]
        cuts += [f"--cut={number % 2}:{number // 2 % 2}@{0.7 * number - 0.5:.1f}+0.4" for number in range(1, 150)]
        _, _, plain = self.train("railccl", lab_options=rate)
        _, _, cut = self.train("railccl", lab_options=[*rate, *cuts])
        for pattern in (r"epoch \d+ loss \S+", r"accuracy \S+", r"parameters \S+"):
            self.assertEqual(re.findall(pattern, cut), re.findall(pattern, plain))
            self.assertNotEqual(re.findall(pattern, plain), [], plain)
        for epoch in re.split(r"epoch \d+ loss", cut)[1:-1]:
            self.assertIn(": cut rail", epoch, f"an epoch without a cut:\n{cut}")

    def failure(self, scenario):
        """(exit code, what each rank caught, what each rank's library said, output)"""
        code, output = lab(["--nodes", "2", "--rails", "2", "--ranks-per-node", "2"], [PYTHON, FAILURES, scenario])
        caught, said = {}, {}
        for line in output.splitlines():
            found = re.match(r"\[(\d)\] caught: (.*)", line)
            if found:
                caught[int(found.group(1))] = found.group(2)
            found = re.match(r"\[(\d)\] .* ends on rank \d: (.*)", line)
            if found:
                said[int(found.group(1))] = found.group(2)
        return code, caught, said, output

    def check_sums(self, scenario, total):
        """Every rank ends well, with this sum; what they printed."""
        code, _, _, output = self.failure(scenario)
        self.assertEqual(code, 0, output)
        for rank in range(RANKS):
            self.assertIn(f"[{rank}] sum {total}", output)
        return output

    def check_same_text(self, caught, said, ranks, output):
        for rank in ranks:
            self.assertTrue(caught.get(rank, "").startswith("DistBackendError: "), output)
            self.assertIn(said.get(rank, "nothing was said"), caught[rank], output)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_death_is_an_exception_and_the_others_go_on(self):
        code, caught, said, output = self.failure("death")
        self.assertEqual(code, 128 + 9, output)
        self.check_same_text(caught, said, range(RANKS - 1), output)
        for rank in range(RANKS - 1):
            self.assertRegex(caught[rank], r"rank 3 \(host node1.*\) is lost")
            self.assertIn(f"[{rank}] went on", output)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_an_abort_is_an_exception_on_every_rank(self):
        code, caught, said, output = self.failure("abort")
        self.assertEqual(code, 0, output)
        self.check_same_text(caught, said, range(RANKS - 1), output)
        for rank in range(RANKS):
            self.assertRegex(caught.get(rank, ""), "rank 3 on node1.* called ncclCommAbort|shut down or aborted",
                             output)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_timeout_is_an_exception(self):
        code, caught, _, output = self.failure("timeout")
        self.assertEqual(code, 0, output)
        for rank in range(RANKS - 1):
            self.assertRegex(caught.get(rank, ""),
                             rf"DistBackendError: railccl: ALLREDUCE(:| on rank {rank}) "
                             "(did not end within 1000 ms|rank . on node.* called ncclCommAbort)", output)
        # The first to give up ends it for the others.
        self.assertIn("did not end within 1000 ms", " ".join(caught.values()), output)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_group_that_nobody_destroys_ends_with_the_script(self):
        for _ in range(3):
            self.assertNotIn(" WARN ", self.check_sums("forgotten", sum(range(RANKS))))

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_a_group_may_be_destroyed_by_a_callback_of_its_own_work(self):
        self.check_sums("dropped", RANKS)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_futures_that_nobody_waits_for_fire_when_their_group_is_destroyed(self):
        self.check_sums("unwaited", sum(range(RANKS)))

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_an_abort_ends_a_shutdown_that_waits(self):
        code, caught, _, output = self.failure("broken_off")
        self.assertEqual(code, 0, output)
        for rank in range(RANKS - 1):
            self.assertIn("called ncclCommRevoke", caught.get(rank, ""), output)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_operators_of_coalesced_works_go_before_their_communicator(self):
        self.check_sums("premultiplied", 2 * sum(range(RANKS)))

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_calls_that_disagree_are_exceptions_on_every_rank(self):
        code, caught, said, output = self.failure("disagreement")
        self.assertEqual(code, 0, output)
        self.check_same_text(caught, said, range(RANKS), output)
        for rank in range(RANKS):
            self.assertRegex(caught[rank], "rank 3 called AllGather")
            self.assertRegex(caught[rank], "rank [012] called AllReduce")


if __name__ == "__main__":
    main()
