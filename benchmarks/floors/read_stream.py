"""Reads a build's events with the libraries that clinder uses, and discards them.

python read_stream.py BUILD_URL
"""

import json
import sys

import requests
import sseclient

with requests.get(sys.argv[1], stream=True, timeout=60) as response:
    for event in sseclient.SSEClient(response.raw.stream(65536)).events():
        if json.loads(event.data).get("phase") == "ready":
            sys.stdout.write("ready\n")
            break
