"""The page of fabric_check in a real browser: it draws what the JSON file says, with nothing from outside."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN = sys.argv[1]
SKIPPED = 77
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODES = 3


def browse(page, folder, *arguments):
    # A container has no sandbox to give; the page is our own.
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=5000",
         f"--user-data-dir={folder}/browser", *arguments, f"file://{page}"],
        capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"HOME": folder})
    return done.returncode, done.stdout, done.stderr


@unittest.skipUnless(BROWSER, "no chromium here (Debian: apt-get install chromium)")
class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.page = os.path.join(self.folder, "fabric.html")
        report = os.path.join(self.folder, "fabric.json")
        done = subprocess.run(
            [os.path.join(BIN, "fabric_check"), "--local", str(NODES), "--html", self.page, "-J", report,
             "--seconds", "0.02", "--no-drill"],
            capture_output=True, text=True, timeout=120, check=False,
            env=os.environ | {"RAILCCL_SOCKET_IFNAME": "lo"})
        # Processes that share this machine's cores need not be equally fast.
        self.assertIn(done.returncode, (0, 2), done.stdout + done.stderr)
        with open(report, encoding="utf-8") as file:
            self.report = json.load(file)

    def test_it_draws_every_way_of_every_rail_and_the_verdict(self):
        code, dom, errors = browse(self.page, self.folder, "--dump-dom")
        self.assertEqual(code, 0, errors)
        drawn = dom.split('<script id="data"')[0]
        maps = len(self.report["rails"]) + (1 if len(self.report["rails"]) > 1 else 0)
        self.assertEqual(len(re.findall(r"<rect [^>]*class=\"cell", drawn)), maps * NODES * (NODES - 1))
        self.assertIn(f'class="verdict {self.report["verdict"]}"', drawn)
        for node in self.report["nodes"]:
            self.assertIn(node["name"], drawn)
        for finding in self.report["findings"]:
            self.assertIn(finding["text"].split(":")[0].replace("&", "&amp;").replace(">", "&gt;").replace("<", "&lt;"),
                          drawn)
        self.assertIn("all_reduce", drawn)

    def test_it_can_be_pictured(self):
        picture = os.path.join(self.folder, "page.png")
        code, _, errors = browse(self.page, self.folder, f"--screenshot={picture}", "--window-size=1200,1200")
        self.assertEqual(code, 0, errors)
        self.assertGreater(os.path.getsize(picture), 10_000)


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    for test, reason in result.skipped:
        print(f"SKIP {test.id()}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun == len(result.skipped) else 0)
