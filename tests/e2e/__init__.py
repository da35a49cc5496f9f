"""The command line as people run it: real processes, servers and kernels."""
