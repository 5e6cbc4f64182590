"""Open MPI starts the perftest programs."""
import os
import shutil
import unittest

from support import BIN, main, run


@unittest.skipIf(shutil.which("mpirun") is None, "mpirun is not installed (openmpi-bin)")
class Mpirun(unittest.TestCase):
    def test_four_ranks_gather(self):
        code, output = run(["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "4",
                            os.path.join(BIN, "all_gather_perf"), "-b", "8", "-e", "256K", "-f", "16",
                            "-n", "2"])
        self.assertEqual(code, 0, output)
        self.assertIn("Out of bounds values : 0 OK", output)
        self.assertEqual(output.count("#  Rank "), 4, output)


if __name__ == "__main__":
    main()
