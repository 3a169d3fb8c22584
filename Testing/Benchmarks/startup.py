"""How long the command and the module take to appear: medians over fresh processes.

    python Testing/Benchmarks/startup.py [--repeats 5] [--table docs/benchmarks.md]

The module is opened on the harness (Testing/Module/harness), after Slicer's own libraries were imported.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import arguments, machine, publish

MARK = "<!-- startup table -->"
ROOT = Path(__file__).parents[2]
OPEN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from harness import minislicer
minislicer.bootstrap()
from harness.module_loading import openModule
begin = time.perf_counter()
panel = openModule(sys.argv[2])
print(time.perf_counter() - begin)
panel.close()
"""


def help_seconds() -> float:
    """Seconds of `metassl --help`."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "metassl", "--help"], check=True, capture_output=True)
    return time.perf_counter() - begin


def module_seconds() -> float:
    """Seconds to create the module's panel, `setup()` included."""
    command = [sys.executable, "-c", OPEN, ROOT / "Testing" / "Module", ROOT / "MetaSSLSegment" / "MetaSSLSegment.py"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout.split()[-1])


def main() -> None:
    """Measure, write the JSON and the table."""
    args = arguments(__doc__, "startup", 5).parse_args()
    times = [(help_seconds(), module_seconds()) for _ in range(args.repeats)]
    command, module = (statistics.median(column) for column in zip(*times))
    found = {"machine": machine(), "repeats": args.repeats, "metassl --help": command, "module": module}
    text = (
        f"{machine()}, medians of {args.repeats}\n\n| | seconds | target |\n|---|---|---|\n"
        f"| `metassl --help` | {command:.2f} | 0.5 |\n| opening the module's panel | {module:.2f} | 0.3 |"
    )
    publish(found, text, args, MARK)


if __name__ == "__main__":
    main()
