"""``laneway operator`` as a program: what it does with settings that cannot work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SETTINGS = {
    "PYTHONPATH": str(ROOT / "operator"),
    "LANEWAY_POD_NAMESPACE": "laneway-system",
    "LANEWAY_POD_NAME": "operator-0",
    "LANEWAY_GATEWAY_URL": "http://127.0.0.1:9",
    "LANEWAY_GATEWAY_OPERATOR_URL": "http://127.0.0.1:9",
    "LANEWAY_AGENT_IMAGE": "laneway:test",
    "LANEWAY_LOG_FORMAT": "text",
}


def start(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "laneway", "operator"], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_bad_preset_ends_it_with_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("description: Mine.\nimagee: x\n")
    done = start({**SETTINGS, "LANEWAY_PRESETS_DIR": str(tmp_path)})
    assert done.returncode == 2
    assert "mine.yaml" in done.stderr
    assert "imagee" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_setting_is_named() -> None:
    done = start({key: value for key, value in SETTINGS.items() if key != "LANEWAY_AGENT_IMAGE"})
    assert done.returncode == 2
    assert done.stderr.endswith("a setting is missing or wrong cause=LANEWAY_AGENT_IMAGE must be set\n")
    assert done.stderr.count("\n") == 1
