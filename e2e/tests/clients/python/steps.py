"""What the programs of all Python clients share: steps, waiting, and being cut off from the server."""

import json
import os
import sys
import time
import traceback

# Nothing takes longer unless it hangs.
PATIENCE = 60

# The kubeconfig of a control plane that keeps its history as usual.
STEADY = os.environ["KUBECONFIG"]
# That of one that soon forgets it, through a network that can be cut.
FORGETFUL = os.environ["FORGETFUL_KUBECONFIG"]


def eventually(what, condition):
    """Waits until the condition is true, and returns what it gave."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: still not so, but {found!r}")
        time.sleep(0.05)


def equal(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def refused(kind, call, status, reason, body=lambda error: error.body):
    """The call fails with this status and reason. Returns the Status that the server sent."""
    try:
        call()
    except kind as error:
        answer = body(error)
        answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
        equal((answer["kind"], answer["code"], answer["reason"]), ("Status", status, reason))
        return answer
    raise AssertionError(f"expected {status} {reason}, but it succeeded")


def while_cut_off(line):
    """Has the test run a shell line against the forgetful server while this program does not reach it, until the
    history of before is forgotten."""
    print(f"@while-cut-off {line}", flush=True)
    equal(sys.stdin.readline(), "reachable\n")


def run(*steps):
    """Runs the steps in order. The process ends with the first that fails."""
    for step in steps:
        name = step.__name__.replace("_", " ")
        try:
            step()
        except BaseException:
            traceback.print_exc()
            print(f"FAILED: {name}", flush=True)
            # Threads of informers may be waiting for ever.
            os._exit(1)
        print(f"ok: {name}", flush=True)
    os._exit(0)


def definition(plural, kind, group="clients.example.com"):
    """A CustomResourceDefinition with a status, a scale, a rule and a default."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                    },
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "required": ["colour"],
                                    "properties": {
                                        "colour": {"type": "string"},
                                        "size": {"type": "integer", "minimum": 0, "default": 1},
                                    },
                                    "x-kubernetes-validations": [
                                        {"rule": "self.colour != 'plaid'", "message": "no such colour"}
                                    ],
                                },
                                "status": {
                                    "type": "object",
                                    "x-kubernetes-preserve-unknown-fields": True,
                                },
                            },
                        }
                    },
                }
            ],
        },
    }
