"""Print some facts about a session. Run it with ``clinder exec examples/hello.py``."""

import os
import platform
from pathlib import Path

print(f"Hello from a kernel of Python {platform.python_version()}, process {os.getpid()}.")
print(f"Its directory is {Path.cwd()}, and 6 * 7 is {6 * 7}.")
