"""Open MPI starts the perftest programs."""
import os
import re
import shutil
import unittest

from support import BIN, lab, main, namespaces_possible, run


@unittest.skipIf(shutil.which("mpirun") is None, "mpirun is not installed (openmpi-bin)")
class Mpirun(unittest.TestCase):
    def test_four_ranks_gather(self):
        code, output = run(["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "4",
                            os.path.join(BIN, "all_gather_perf"), "-b", "8", "-e", "256K", "-f", "16",
                            "-n", "2"])
        self.assertEqual(code, 0, output)
        self.assertIn("Out of bounds values : 0 OK", output)
        self.assertEqual(output.count("#  Rank "), 4, output)

    @unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
    def test_ranks_on_two_nodes_of_the_lab_reduce_over_both_rails(self):
        code, output = lab(["--nodes", "2", "--rails", "2", "--ranks-per-node", "2", "--mpirun"],
                           [os.path.join(BIN, "all_reduce_perf"), "-b", "8K", "-e", "8M", "-f", "32", "-n", "2", "--rails"])
        self.assertEqual(code, 0, output)
        self.assertIn("Out of bounds values : 0 OK", output)
        self.assertEqual(len(set(re.findall(r"#  Rank +(\d) .* on +(node[01]) ", output))), 4, output)
        carried = re.findall(r"# +(\d) +(rail[01]) +tcp +up +(\d+) ", output)
        self.assertEqual({(rank, rail) for rank, rail, _ in carried},
                         {(rank, rail) for rank in "0123" for rail in ("rail0", "rail1")}, output)
        self.assertTrue(all(int(sent) > 0 for _, _, sent in carried), output)


if __name__ == "__main__":
    main()
