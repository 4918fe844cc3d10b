"""Validates Kubernetes manifests from standard input strictly, and prints them as JSON, one a line.

Arguments: the versions of Kubernetes."""

import json
import sys

import kubernetes_validate
import yaml

# Kinds of operators, whose schemas are not Kubernetes' own.
FOREIGN = {"PodMonitor"}

for manifest in yaml.safe_load_all(sys.stdin):
    if manifest["kind"] not in FOREIGN:
        for version in sys.argv[1:]:
            kubernetes_validate.validate(manifest, version, strict=True)
    print(json.dumps(manifest))
