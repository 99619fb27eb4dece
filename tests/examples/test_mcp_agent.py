"""The agent whose tool comes from a server, as its first lines say it is run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINE = '#   kneo run examples/mcp_agent.yaml --input "Please search for tea"'


def test_the_agent_answers_with_what_the_server_knows(tmp_path: Path) -> None:
    assert LINE in (ROOT / "examples" / "mcp_agent.yaml").read_text(encoding="utf-8").splitlines()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    # The command `python` of the example is that of the environment that kneo is installed in.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "kneo_serv", "run", "examples/mcp_agent.yaml", "--input", "Please search for tea"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Final answer based on tool results: Tea: The tea is in the left cupboard." in done.stdout
