"""Clinder measured against what else there is: ``make bench``."""
