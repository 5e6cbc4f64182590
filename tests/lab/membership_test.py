"""Ranks that die, stand still, leave or do not come, on two nodes of the lab and on one: the others learn it, can abort
in bounded time without anybody's help, and go on without them; nothing is left behind."""
import json
import os
import re
import sys
import unittest

from rank_library import IN_PROGRESS, SUCCESS
from support import BUILD, lab, main, namespaces_possible, shared_memory

RANK_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "membership_rank.py")
# What abort may take: it waits 2 s at most for a rail that does not answer.
ABORT_S = 5
LAYOUTS = {"two nodes": ["--nodes", "2", "--rails", "2", "--ranks-per-node", "2"],
           "one node": ["--nodes", "1", "--rails", "1", "--ranks-per-node", "4"]}
RANKS = 4
VICTIM = 3


def said(output, rank):
    """All that a rank printed as JSON, in one dictionary."""
    fields = {}
    for line in output.splitlines():
        match = re.match(rf"\[{rank}\] (\{{.*\}})$", line)
        if match:
            fields.update(json.loads(match.group(1)))
    return fields


def processes():
    """Ranks of this test that still run, by their command line."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", encoding="utf-8") as file:
                    if RANK_PROGRAM in file.read().split("\0"):
                        found.add(int(name))
            except OSError:
                pass
    return found


@unittest.skipUnless(namespaces_possible(), "network namespaces need root with CAP_SYS_ADMIN")
class Membership(unittest.TestCase):
    def setUp(self):
        self.shared = shared_memory()

    def tearDown(self):
        self.assertEqual(shared_memory() - self.shared, set(), "shared memory is left")
        self.assertEqual(processes(), set(), "processes are left")

    def in_each_layout(self, scenario, check, options=(), environment=(), victim=VICTIM):
        """check(exit code, what each rank said, output), for both layouts."""
        program = [sys.executable, "-B", RANK_PROGRAM, BUILD, scenario, str(victim)]
        for name, layout in LAYOUTS.items():
            with self.subTest(name):
                code, output = lab([*layout, *options], ["env", "RAILCCL_RANK_TIMEOUT_S=20", *environment, *program],
                                   timeout=60)
                fields = [said(output, rank) for rank in range(RANKS)]
                check(code, fields, output)
                self.assertFalse(any(each.get("written_to") for each in fields),
                                 f"a buffer was written to after its operation had returned its error: {output}")

    def check_went_on(self, fields, output):
        for rank in range(RANKS):
            if rank != VICTIM:
                self.assertEqual((fields[rank].get("sum"), fields[rank].get("small")), (6.0, 6.0), output)
                self.assertLess(fields[rank]["abort_s"], ABORT_S, output)

    def test_survivors_of_a_death_go_on(self):
        def check(code, fields, output):
            self.assertEqual(code, 128 + 9, output)
            for rank in range(RANKS):
                if rank != VICTIM:
                    self.assertRegex(fields[rank].get("error", ""), r"rank 3 \(host .*\) is lost.*its process has ended",
                                     output)
            self.check_went_on(fields, output)

        self.in_each_layout("death", check)

    def test_a_rank_is_given_up_by_revoke_and_shrink(self):
        def check(code, fields, output):
            self.assertEqual(code, 0, output)
            for rank in range(RANKS):
                self.assertIn("rank 0 called ncclCommRevoke", fields[rank].get("error", ""), output)
            self.check_went_on(fields, output)

        self.in_each_layout("revoke", check)

    # The victim stops itself, long before the lab does so once more and lets it go on.
    def test_abort_needs_no_help_of_a_rank_that_stands_still(self):
        def check(code, fields, output):
            self.assertEqual(code, 0, output)
            for rank in range(RANKS):
                self.assertLess(fields[rank].get("abort_s", 1e9), ABORT_S, output)
                if rank != VICTIM:
                    self.assertRegex(fields[rank].get("error", ""), "rank [012] on .* called ncclCommAbort", output)

        self.in_each_layout("stopped", check, ["--stop", f"{VICTIM}@6+0.1"])

    def test_abort_ends_a_start_that_waits_for_a_rank(self):
        def check(code, fields, output):
            self.assertEqual(code, 0, output)
            for rank in range(RANKS):
                if rank != VICTIM:
                    self.assertEqual((fields[rank].get("begun"), fields[rank].get("state")),
                                     (IN_PROGRESS, IN_PROGRESS), output)
                    self.assertLess(fields[rank]["abort_s"], ABORT_S, output)

        self.in_each_layout("start", check, environment=["RAILCCL_COMM_BLOCKING=0"])

    def test_a_rank_that_has_left_is_named_to_those_who_wait_for_it(self):
        def check(code, fields, output):
            self.assertEqual(code, 0, output)
            for rank in range(RANKS):
                if rank != VICTIM:
                    self.assertRegex(fields[rank].get("error", ""),
                                     r"rank [012] called AllReduce\(.*\), rank 3 has closed its communicator after \d+ "
                                     "operations", output)

        self.in_each_layout("leaves", check)

    def check_errors(self, scenario, expected, go_on=False):
        def check(code, fields, output):
            if go_on:
                self.check_went_on(fields, output)
            self.assertEqual(code, 0, output)
            for rank in range(RANKS):
                if rank != VICTIM:
                    self.assertRegex(fields[rank].get("error", ""), expected, output)
                    # At once, and not when a wait for a better reason is over.
                    self.assertLess(fields[rank].get("error_s", 0), 1.9, output)
                    self.assertIn("abort_s", fields[rank], output)

        self.in_each_layout(scenario, check)

    def test_a_rank_whose_process_has_ended_is_named_to_those_who_wait_for_it(self):
        self.check_errors("ends", r"rank [012] called AllReduce\(.*\) as operation \d+ of the communicator, the process of "
                                  r"rank 3 on .* has ended after \d+", go_on=True)

    def test_who_receives_from_a_rank_that_has_left_is_told(self):
        self.check_errors("leaves_receivers", "rank [012] receives .* from rank 3, which has closed its communicator")

    def test_who_receives_from_a_rank_whose_process_has_ended_is_told(self):
        self.check_errors("ends_receivers", "rank [012] receives .* from rank 3, whose process on .* has ended")

    def test_who_sends_to_a_rank_whose_process_has_ended_is_told(self):
        self.check_errors("ends_senders", "rank [012] sends .* to rank 3, whose process on .* has ended")

    def test_a_split_needs_the_rank_whose_process_has_ended(self):
        self.check_errors("ends_before_split", "rank 3 on .* has ended and does not take part")

    def test_operations_that_nobody_waits_for_do_not_crash_a_process_that_ends(self):
        def check(code, fields, output):
            self.assertEqual(code, 0, output)
            self.assertTrue(all(each.get("ready") for each in fields), output)

        self.in_each_layout("ends_busy", check)

    def test_what_a_process_has_sent_before_its_end_arrives_and_its_end_is_no_death(self):
        for victim in range(RANKS):
            with self.subTest(victim=victim):
                self.check_sent_before_the_end(victim)

    def check_sent_before_the_end(self, victim):
        def check(code, fields, output):
            self.assertEqual(code, 0, output)
            self.assertNotIn(" is lost", output)
            self.assertNotIn(" WARN ", output)
            for rank in range(RANKS):
                if rank != victim:
                    said = fields[rank]
                    self.assertEqual((said.get("early"), said.get("idle_error")), (True, SUCCESS), output)
                    self.assertEqual(said.get("late"), [1000.0, 1001.0, 1002.0], output)
                    self.assertEqual(said.get("received"), [2000.0, 2001.0, 2002.0], output)
                    self.assertLess(said["destroy_s"], 1, output)

        self.in_each_layout("ends_ahead", check, victim=victim)

    def test_nothing_is_left_after_sigterm(self):
        def check(code, fields, output):
            self.assertEqual(code, 128 + 15, output)
            self.assertTrue(all(each.get("ready") for each in fields), output)

        self.in_each_layout("terminated", check)

    def test_nothing_is_left_after_an_exit_without_a_word(self):
        def check(code, fields, output):
            self.assertEqual(code, 0, output)
            self.assertTrue(all(each.get("ready") for each in fields), output)

        self.in_each_layout("exits", check)


if __name__ == "__main__":
    main()
