"""Run a script of this package in a process of its own, which does not import transferkit."""

import os
import subprocess
import sys


def run_script(path: str, *words: str):
    """Run a script with arguments.

    Raises:
        ValueError: it failed; the message is the last line that it wrote, without a sentence around it.
    """
    command, environment = [sys.executable, "-P", path, *words], os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ended.returncode:
        raise ValueError((ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1])
