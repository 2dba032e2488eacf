"""`python -m chaos`: a whole WhyRay under faults drawn by chance, and the count at the end."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.faults import FAULTS, of_kinds
from chaos.report import as_json, as_markdown, merged, put_into
from chaos.run import Plan, run

_TOLD = """
A whole WhyRay (`whyray serve`) gets a stream of studies from pynetdicom, dcmtk's storescu and STOW-RS, and sends what
it finds to two archives: one that can be in any mood, and an Orthanc that commits to storage. Meanwhile faults strike,
drawn by the seed. At the end everybody is made well, all work drains, and it is counted that what was acknowledged was
processed and delivered, each exactly once. Exit code 1: something was lost, doubled, stuck or condemned.

  make chaos                                        200 faults on SQLite
  make chaos CHAOS='--database postgresql'          the same on PostgreSQL
  make chaos CHAOS='--faults 50 --only kill'        kills alone (names by their beginning; may be given again)
  make chaos CHAOS='--seed 7 --faults 30'           the same draws as last time with 7
  make chaos CHAOS='--big'                          with a CT of 3,000 instances and a cine of 500 MB in it
  make chaos CHAOS='--peers'                        kill -9 of Orthanc and two storescp, for comparison

The same seed draws the same faults; at which instruction they strike is the machine's chance. As root the disks are
small tmpfs; otherwise a full disk is a limit on the size of files. Clock jumps need faketime.
"""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for, by `words` or the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description=__doc__,
        epilog=_TOLD + "\nKinds of fault:\n" + "\n".join(f"  {fault.name:30}{fault.what}" for fault in FAULTS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=20261129, help="of the draws (default: %(default)s)")
    parser.add_argument("--faults", type=int, default=200, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=60, help="no further fault after so long (default: %(default)s)"
    )
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="only faults whose name begins so")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite", help="of the catalog")
    parser.add_argument("--big", action="store_true", help="with a CT of 3,000 instances and a cine of 500 MB")
    parser.add_argument("--slices", type=int, default=3000, help="of the CT of --big (default: %(default)s)")
    parser.add_argument("--matrix", type=int, default=512, help="rows and columns of its slices (default: %(default)s)")
    parser.add_argument("--no-orthanc", action="store_true", help="without the second archive")
    parser.add_argument("--no-clock", action="store_true", help="without faketime, which slows everything a little")
    parser.add_argument(
        "--drain", type=float, default=1200, metavar="S", help="longest wait at the end (%(default)s s)"
    )
    parser.add_argument(
        "--waiting", type=int, default=12, metavar="N", help="studies on their way at a time (%(default)s)"
    )
    parser.add_argument("--peers", action="store_true", help="kill Orthanc and two storescp instead, and compare")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="JSON", help="reports of former runs, into --page")
    parser.add_argument("--page", type=Path, default=Path("docs/reliability.md"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("test-artefacts/chaos"), help="folder of the reports")
    return parser.parse_args(words)


def main() -> int:
    """The exit code."""
    told = arguments()
    if told.merge:
        put_into(told.page, merged(told.merge), "faults")
        return 0
    told.out.mkdir(parents=True, exist_ok=True)
    if told.peers:
        from chaos.peers_killed import compared

        words = compared(told.seed, kills=told.faults, say=_say)
        (told.out / "peers.md").write_text(words + "\n")
        sys.stdout.write(words + "\n")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is stopped
    plan = Plan(
        seed=told.seed,
        faults=of_kinds(told.only),
        number=told.faults,
        minutes=told.minutes,
        database=told.database,
        big=told.big,
        with_orthanc=not told.no_orthanc,
        with_clock=not told.no_clock,
        most_waiting=told.waiting,
        drain=told.drain,
        slices=told.slices,
        matrix=told.matrix,
    )
    folder = Path(tempfile.mkdtemp(prefix="whyray-chaos-"))
    folder.chmod(0o755)
    outcome = run(plan, folder / "run", _say)
    name = f"{plan.database}-{plan.seed}"
    (told.out / f"{name}.json").write_text(as_json(outcome))
    words = as_markdown(outcome)
    (told.out / f"{name}.md").write_text(words)
    sys.stdout.write(words + "\n")
    _say(f"log of the service: {outcome.log}; reports: {told.out}/{name}.json and .md")
    return 0 if outcome.tally.faultless and outcome.drained else 1


def _say(words: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
