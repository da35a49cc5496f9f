"""What a session says of itself: run it with ``clinder exec examples/hello.py``."""

import os
import platform
from pathlib import Path

print(f"Hello from a kernel of Python {platform.python_version()}, process {os.getpid()}.")
print(f"It works in {Path.cwd()}, and knows that 6 * 7 is {6 * 7}.")
