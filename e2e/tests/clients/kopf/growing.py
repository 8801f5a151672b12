"""An operator of PyPI's `kopf`, which grows plants, against a server that soon forgets its history."""

import asyncio
import json
import logging
import os
import threading

from steps import FORGETFUL, definition, equal, eventually, refused, run, while_cut_off

os.environ["KUBECONFIG"] = FORGETFUL

import kopf
from kubernetes import client, config
from kubernetes.client import ApiException

config.load_kube_config(FORGETFUL)
core, custom = client.CoreV1Api(), client.CustomObjectsApi()
NAMESPACE = "kopf"
WHERE = ("clients.example.com", "v1", NAMESPACE, "plants")


class Journal(logging.Handler):
    """What kopf says."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())

    def has(self, text):
        return any(text in message for message in self.said)


journal = Journal()
logging.getLogger("kopf").setLevel(logging.DEBUG)
logging.getLogger("kopf").addHandler(journal)


class Operator:
    """A running operator, and what its handlers were called for."""

    def __init__(self, name, priority, streaming):
        self.name, self.calls = name, []
        self.ready, self.stopping = threading.Event(), threading.Event()
        settings = kopf.OperatorSettings()
        settings.watching.initial_streaming = streaming
        settings.watching.reconnect_backoff = 0.1
        settings.networking.error_backoffs = [0.2] * 300
        settings.peering.name, settings.peering.mandatory = "gardeners", True
        settings.execution.max_workers = 4
        running = kopf.operator(
            registry=self.handlers(),
            settings=settings,
            namespaces=[NAMESPACE],
            priority=priority,
            identity=name,
            ready_flag=self.ready,
            stop_flag=self.stopping,
        )
        self.thread = threading.Thread(target=asyncio.run, args=(running,))
        self.thread.start()
        eventually(f"{name} is ready", self.ready.is_set)

    def handlers(self):
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        def login(**kwargs):
            return kopf.login_with_kubeconfig(**kwargs)

        @kopf.on.create("plants", id="created", registry=registry)
        def created(spec, name, body, patch, retry, **_):
            if name == "shy" and retry == 0:
                raise kopf.TemporaryError("it will come", delay=0.1)
            self.calls.append(("created", name))
            pot = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"plant": spec["colour"]}}
            kopf.adopt(pot)
            kopf.label(pot, {"pot": name})
            core.create_namespaced_config_map(NAMESPACE, pot)
            patch.status["size"] = spec["size"]
            kopf.info(body, reason="Planted", message=f"{name} is in its pot")
            return {"gardener": self.name}

        @kopf.on.update("plants", field="spec.size", id="resized", registry=registry)
        def resized(name, old, new, patch, **_):
            self.calls.append(("resized", name, old, new))
            patch.status["size"] = new

        @kopf.on.delete("plants", id="deleted", registry=registry)
        def deleted(name, **_):
            self.calls.append(("deleted", name))

        @kopf.on.event("configmaps", labels={"pot": kopf.PRESENT}, id="seen", registry=registry)
        def seen(labels, **_):
            self.calls.append(("seen", labels["pot"]))

        return registry

    def stop(self):
        self.stopping.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), f"{self.name} does not stop"


def plant(name, **spec):
    return {
        "apiVersion": "clients.example.com/v1",
        "kind": "Plant",
        "metadata": {"name": name},
        "spec": {"colour": "green", **spec},
    }


def make(name, **spec):
    custom.create_namespaced_custom_object(*WHERE, plant(name, **spec))


def get(name):
    return custom.get_namespaced_custom_object(*WHERE, name)


def is_gone(name):
    try:
        get(name)
        return False
    except ApiException as error:
        return error.status == 404


def gardener(name):
    return get(name).get("status", {}).get("created", {}).get("gardener")


def the_definitions_are_established():
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    peering = definition("kopfpeerings", "KopfPeering", "kopf.dev")
    [version] = peering["spec"]["versions"]
    del version["subresources"]
    version["schema"]["openAPIV3Schema"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    extensions = client.ApiextensionsV1Api()
    for one in (definition("plants", "Plant"), peering):
        extensions.create_custom_resource_definition(one)

        def established():
            status = extensions.read_custom_resource_definition(one["metadata"]["name"]).status
            return any(c.type == "Established" and c.status == "True" for c in status.conditions or [])

        eventually("the definition is established", established)
    gardeners = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering", "metadata": {"name": "gardeners"}}
    custom.create_namespaced_custom_object("kopf.dev", "v1", NAMESPACE, "kopfpeerings", gardeners)


def the_first_operator_starts():
    global first
    first = Operator("first", priority=0, streaming=True)


def what_is_created_gets_a_finalizer_a_status_and_a_child():
    make("rose", size=2)
    eventually("it is handled", lambda: gardener("rose") == "first")
    rose = get("rose")
    equal((rose["status"]["size"], rose["metadata"]["finalizers"]), (2, ["kopf.zalando.org/KopfFinalizerMarker"]))
    [pot] = core.list_namespaced_config_map(NAMESPACE, label_selector="pot=rose").items
    [owner] = pot.metadata.owner_references
    equal((owner.kind, owner.uid, owner.controller), ("Plant", rose["metadata"]["uid"], True))
    eventually("it sees its child", lambda: ("seen", "rose") in first.calls)

    def posted():
        events = core.list_namespaced_event(NAMESPACE, field_selector="reason=Planted,involvedObject.name=rose")
        return [event.message for event in events.items] == ["rose is in its pot"]

    eventually("there is an event", posted)


def a_failed_handler_is_tried_again():
    make("shy")
    eventually("it is handled", lambda: gardener("shy") == "first")
    equal(first.calls.count(("created", "shy")), 1)


def updates_are_told_as_differences():
    custom.patch_namespaced_custom_object(*WHERE, "rose", {"spec": {"size": 5, "colour": "red"}})
    eventually("the status follows", lambda: get("rose")["status"]["size"] == 5)
    assert ("resized", "rose", 2, 5) in first.calls, first.calls
    said = refused(
        ApiException,
        lambda: custom.patch_namespaced_custom_object(*WHERE, "rose", {"spec": {"colour": "plaid"}}),
        422,
        "Invalid",
    )
    assert "no such colour" in said["message"], said


def what_happened_while_cut_off_is_handled_after_410():
    before = len(journal.said)
    while_cut_off(
        f"kubectl -n {NAMESPACE} delete plant shy --wait=false"
        f" && kubectl -n {NAMESPACE} patch plant rose --type=merge -p '{{\"spec\":{{\"size\":8}}}}'"
        f" && echo '{json.dumps(plant('iris'))}' | kubectl -n {NAMESPACE} create -f -"
    )
    eventually("the new one is handled", lambda: gardener("iris") == "first")
    eventually("the changed one is handled", lambda: get("rose")["status"]["size"] == 8)
    eventually("the deleted one is handled", lambda: is_gone("shy"))
    assert ("deleted", "shy") in first.calls and ("resized", "rose", 5, 8) in first.calls, first.calls
    restarted = "Restarting the watch-stream for plants.v1.clients.example.com"
    assert any(restarted in message for message in journal.said[before:]), journal.said[before:]


def an_operator_of_higher_priority_takes_over():
    second = Operator("second", priority=10, streaming=False)
    eventually("the first pauses", lambda: journal.has("Pausing operations in favour of"))
    make("lily")
    eventually("the second handles it", lambda: gardener("lily") == "second")
    second.stop()
    eventually("the first resumes", lambda: journal.has("Resuming operations after the pause"))
    make("oak")
    eventually("the first handles it", lambda: gardener("oak") == "first")
    assert ("created", "lily") not in first.calls, first.calls


def what_is_deleted_goes_with_its_child():
    for name in ("rose", "iris", "lily", "oak"):
        custom.delete_namespaced_custom_object(*WHERE, name)
    for name in ("rose", "iris", "lily", "oak"):
        eventually(f"{name} is gone", lambda: is_gone(name))
        assert ("deleted", name) in first.calls, first.calls
    pots = lambda: core.list_namespaced_config_map(NAMESPACE, label_selector="pot").items
    eventually("the pots are gone too", lambda: not pots())
    first.stop()


run(
    the_definitions_are_established,
    the_first_operator_starts,
    what_is_created_gets_a_finalizer_a_status_and_a_child,
    a_failed_handler_is_tried_again,
    updates_are_told_as_differences,
    what_happened_while_cut_off_is_handled_after_410,
    an_operator_of_higher_priority_takes_over,
    what_is_deleted_goes_with_its_child,
)
