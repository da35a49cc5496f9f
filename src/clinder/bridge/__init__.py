"""A program that poses as a local kernel and passes everything on to one of the session's kernels.

A tool such as papermill starts it like any kernel, with the tool's own Python. So apart from
:mod:`clinder.bridge.kernelspecs`, this package needs only the standard library, pyzmq, which every
such tool has, and wsproto.
"""
