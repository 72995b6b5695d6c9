"""Reads an OpenMetrics text from stdin with the parser of Prometheus's own client,
which is strict, and prints what it holds: NAME TYPE SERIES, a line for each family."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    if not family.documentation:
        sys.exit(f"{family.name} has no help")
    print(family.name, family.type, len(family.samples))
