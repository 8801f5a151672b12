"""`kr8s`, a client that asks the server what there is."""

import kr8s
from kr8s.objects import ConfigMap, CustomResourceDefinition, Deployment, Namespace, Pod, new_class

from steps import STEADY, definition, equal, eventually, run

api = kr8s.api(kubeconfig=STEADY)
NAMESPACE = "kr8s"


def config_map(name, data, **labels):
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return ConfigMap({"metadata": metadata, "data": data}, api=api)


def fails(status, call):
    try:
        call()
    except kr8s.ServerError as error:
        equal(error.response.status_code, status)
        return str(error)
    raise AssertionError(f"expected {status}, but it succeeded")


def objects_are_created_patched_and_watched():
    Namespace({"metadata": {"name": NAMESPACE}}, api=api).create()
    one = config_map("one", {"a": "1"}, kind="number")
    one.create()
    fails(409, config_map("one", {}).create)
    since = one.metadata.resourceVersion
    one.label(tier="front")
    one.annotate(note="two words")
    one.patch([{"op": "add", "path": "/data/b", "value": "2"}], type="json")
    equal(one.raw["data"].to_dict(), {"a": "1", "b": "2"})
    one.remove_label("tier")
    assert "tier" not in one.labels
    one.delete()
    watched = api.watch("configmaps", namespace=NAMESPACE, label_selector={"kind": "number"}, since=since)
    seen = [next(watched) for _ in range(5)]
    equal([event for event, _ in seen], ["MODIFIED"] * 4 + ["DELETED"])
    assert not one.exists()


def what_there_is_is_found_by_discovery():
    names = {resource["name"] for resource in api.api_resources()}
    assert {"configmaps", "deployments", "leases", "customresourcedefinitions"} <= names, names
    equal(api.version()["minor"].rstrip("+"), "36")
    equal(api.whoami(), "kubernetes-admin")


def workloads_are_scaled_and_deleted_with_their_pods():
    pods = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pods}
    web = Deployment({"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": spec}, api=api)
    web.create()
    web.patch({"spec": {"replicas": 2}})
    found = lambda: list(Pod.list(namespace=NAMESPACE, label_selector="app=web", api=api))
    eventually("there are two", lambda: len(found()) == 2)
    web.delete(propagation_policy="Foreground")
    eventually("there is none", lambda: not found())


def custom_resources_are_waited_for():
    crd = CustomResourceDefinition(definition("krakens", "Kraken"), api=api)
    crd.create()

    def has_conditions():
        crd.refresh()
        return crd.status.conditions

    # A new definition's are null, which the client does not expect.
    eventually("it has conditions", has_conditions)
    crd.wait("condition=Established", timeout=60)
    Kraken = new_class("Kraken", version="clients.example.com/v1", namespaced=True, plural="krakens")
    body = {"metadata": {"name": "deep", "namespace": NAMESPACE}}
    fails(422, Kraken({**body, "spec": {"colour": "plaid"}}, api=api).create)
    kraken = Kraken({**body, "spec": {"colour": "black"}}, api=api)
    kraken.create()
    kraken.patch({"status": {"awake": True}}, subresource="status")
    kraken.wait("jsonpath='{.status.awake}'=True", timeout=60)
    kraken.delete()
    crd.delete()
    eventually("the definition is gone", lambda: not crd.exists())


run(
    objects_are_created_patched_and_watched,
    what_there_is_is_found_by_discovery,
    workloads_are_scaled_and_deleted_with_their_pods,
    custom_resources_are_waited_for,
)
