"""``python -m clinder.gateway FOLDER``: a gateway in a process of its own."""

import sys
from pathlib import Path

from clinder.gateway.process import serve

if __name__ == "__main__":
    serve(Path(sys.argv[1]))
