import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts/races.py"


def test_processes_that_write_one_output_break_nothing(own_cache: Path) -> None:
    # Without the lock 11 of 12 such meetings end broken; without opening again every search beside an addition does.
    command = [sys.executable, str(SCRIPT), "--times", "3", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    ended = {name: int(count) for name, count in re.findall(r"(.+): (?:.* )?(\d+)\n", done.stdout)}
    assert ended.pop("broken") == 0 and ended.keys() == {"builds", "prepares", "add and search"}
