"""rail_perf between nodes of the labs: unequal rails, rails that do not work, a node that dies, verbs rails."""
import os
import shutil
import tempfile
import unittest

from qemu_test import machines, missing, qemu
from support import BIN, lab, long_case, main, namespaces_possible, read_report, run
from verbs_test import remove_console_logs

PROGRAM = os.path.join(BIN, "rail_perf")


class Reports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "out.json")

    def check_data(self, report, links):
        self.assertEqual([link["name"] for link in report["links"]], links)
        for link in report["links"]:
            self.assertGreater(link["check"]["bytes"], 0, link["name"])
            self.assertEqual(link["check"]["wrong"], 0, link["name"])

    def check_shares(self, report):
        together = report["links"][-1]
        self.assertTrue(together["together"])
        for result in together["bandwidth"]:
            way = result["one_way"]
            self.assertEqual(sum(rail["bytes"] for rail in way["rails"]), way["bytes"])
            self.assertEqual(way["bytes"], way["iterations"] * result["size"])
            self.assertAlmostEqual(sum(rail["share"] for rail in way["rails"]), 1)


@unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
class Namespaces(Reports):
    def test_unequal_rails_alone_and_together(self):
        code, output = lab(["--nodes", "2", "--rails", "2", "--rate", "800,200"],
                           [PROGRAM, "-b", "64K", "-e", "1M", "-f", "16", "-D", "1", "--bandwidth", "-J", self.path])
        self.assertEqual(code, 0, output)
        report = read_report(self.path)
        self.check_data(report, ["rail 0", "rail 1", "2 rails together"])
        self.check_shares(report)
        fast, slow = [link["bandwidth"][-1]["one_way"]["gbit_per_s"] for link in report["links"][:2]]
        self.assertGreater(fast, slow)
        self.assertLess(fast, 0.8 * 1.5)
        self.assertLess(slow, 0.2 * 1.5)

    def on_node_1(self, preparation, options):
        """Both ranks run rail_perf; rank 1 does something to its rails before."""
        script = (f'if [ "$RANK" = 1 ]; then {preparation}; fi; '
                  f'RAILCCL_LINK_TIMEOUT_S=2 exec {PROGRAM} {options} -J {self.path}')
        return lab(["--nodes", "2", "--rails", "2"], ["sh", "-c", script])

    def test_a_rail_that_nothing_passes_is_named_and_the_others_are_measured(self):
        code, output = self.on_node_1('nft add table netdev t; nft "add chain netdev t in '
                                      '{ type filter hook ingress device rail1 priority 0; policy drop; }"',
                                      "-b 1K -e 1K -D 0.05")
        self.assertEqual(code, 3, output)
        report = read_report(self.path)
        self.assertFalse(report["ok"])
        alone, broken, together = report["links"]
        self.assertEqual(alone["error"], "")
        self.assertEqual(len(alone["latency"]), 1)
        self.assertFalse(broken["connected"])
        self.assertIn("rail1", broken["error"])
        self.assertEqual(broken["latency"], [])
        self.assertTrue(together["connected"])
        self.assertEqual(together["error"], "")
        self.assertNotEqual(together["rails"][1]["state"], "up")
        self.assertEqual([rail["share"] for rail in together["bandwidth"][0]["one_way"]["rails"]], [1, 0])
        self.assertIn("FAILED: rail 1:", output)

    def test_a_port_that_is_down_is_named(self):
        # The lab names both rails, which would end the run at once.
        os.environ.update(RAILCCL_RAILS="", RAILCCL_SOCKET_IFNAME="rail")
        self.addCleanup(os.environ.pop, "RAILCCL_RAILS")
        self.addCleanup(os.environ.pop, "RAILCCL_SOCKET_IFNAME")
        code, output = self.on_node_1("ip link set rail1 down", "-b 1K -e 1K -D 0.05 --latency")
        self.assertEqual(code, 3, output)
        report = read_report(self.path)
        self.check_data(report, ["rail 0"])
        self.assertEqual(len(report["unpaired"]), 1)
        self.assertIn("rail1", report["unpaired"][0])
        self.assertIn("node 0", report["unpaired"][0])

    def test_a_node_that_dies_ends_the_other(self):
        code, output = lab(["--nodes", "2", "--rails", "1", "--kill", "1@3"],
                           [PROGRAM, "-b", "1K", "-e", "1K", "-D", "600", "--latency"], timeout=60)
        self.assertEqual(code, 137, output)
        self.assertTrue(any(line.startswith("[0] ") and "rank 1" in line for line in output.splitlines()), output)

    def test_several_ranks_on_three_nodes(self):
        code, output = lab(["--nodes", "3", "--rails", "1", "--ranks-per-node", "2"],
                           [PROGRAM, "-b", "1K", "-e", "1K", "-D", "0.05", "--pair", "0,2", "-J", self.path])
        self.assertEqual(code, 0, output)
        self.assertEqual([node["rank"] for node in read_report(self.path)["nodes"]], [0, 4])


@unittest.skipIf(missing(), missing())
class Verbs(Reports):
    def setUp(self):
        super().setUp()
        self.before = machines()

    def tearDown(self):
        self.assertEqual(machines() - self.before, set(), "a virtual machine was left behind")

    @long_case
    def test_two_soft_roce_rails_with_what_is_there_without_options(self):
        code, output = qemu(["--nodes", "2", "--rails", "2"], f"exec {PROGRAM} -J {self.path}", timeout=600)
        self.assertEqual(code, 0, output)
        report = read_report(self.path)
        self.check_data(report, ["rail 0", "rail 1", "rail 2", "3 rails together"])
        self.check_shares(report)
        for node in report["nodes"]:
            # TCP is there too, as the last resort.
            self.assertEqual([rail["transport"] for rail in node["rails"]], ["verbs", "verbs", "tcp"])
        for link in report["links"]:
            self.assertTrue(all(result["iterations"] > 0 for result in link["latency"]))
            self.assertGreater(sum(rail["bytes_sent"] for rail in link["rails"]), 0)
        remove_console_logs(output)

    def test_one_soft_roce_rail_by_name_and_no_tcp(self):
        code, output = qemu(["--nodes", "2", "--rails", "2"],
                            f"RAILCCL_TCP_FALLBACK=0 exec {PROGRAM} --latency -x rxe0:1 -b 8 -e 8 -J {self.path}")
        self.assertEqual(code, 0, output)
        report = read_report(self.path)
        self.check_data(report, ["rail 0"])
        self.assertEqual([rail["name"] for rail in report["nodes"][0]["rails"]], ["rxe0:1", "rxe1:1"])
        result, = report["links"][0]["latency"]
        self.assertGreater(result["iterations"], 0)
        self.assertRegex(output, rf"\[0\] +8 +{result['iterations']} ")


class Mpirun(Reports):
    @unittest.skipIf(shutil.which("mpirun") is None, "mpirun is not installed (openmpi-bin)")
    def test_started_by_mpirun_alone(self):
        code, output = run(["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", "sh", "-c",
                            "RAILCCL_SOCKET_IFNAME=lo RAILCCL_HOSTID=node$OMPI_COMM_WORLD_RANK "
                            f"exec {PROGRAM} -b 1K -e 1K -D 0.05 -J {self.path}"])
        self.assertEqual(code, 0, output)
        self.check_data(read_report(self.path), ["rail 0"])


if __name__ == "__main__":
    main()
