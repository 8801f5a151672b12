"""`pykube-ng`, an older client that many scripts are written with."""

import pykube
import requests

from steps import STEADY, definition, equal, eventually, run

api = pykube.HTTPClient(pykube.KubeConfig.from_file(STEADY))
NAMESPACE = "pykube"


def fails(status, call):
    try:
        call()
    except (pykube.exceptions.HTTPError, requests.HTTPError) as error:
        equal(getattr(error, "code", None) or error.response.status_code, status)
        return str(error)
    raise AssertionError(f"expected {status}, but it succeeded")


def config_map(name, data, **labels):
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return pykube.ConfigMap(api, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def maps(**selector):
    return pykube.ConfigMap.objects(api, namespace=NAMESPACE).filter(selector=selector)


def objects_are_created_updated_listed_and_watched():
    pykube.Namespace(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}).create()
    for name in ("a", "b"):
        config_map(name, {"n": "1"}, kind="letter").create()
    said = fails(409, config_map("a", {}).create)
    assert 'configmaps "a" already exists' in said, said

    version = maps(kind="letter").response["metadata"]["resourceVersion"]
    one = pykube.ConfigMap.objects(api, namespace=NAMESPACE).get_by_name("a")
    one.obj["data"]["n"] = "2"
    one.update()
    one.patch({"data": {"n": None, "m": "3"}})
    equal(one.obj["data"], {"m": "3"})
    maps().get_by_name("b").delete()
    watched = iter(maps(kind__in={"letter", "digit"}).watch(since=version))
    seen = [next(watched) for _ in range(3)]
    equal([(event.type, event.object.name) for event in seen], [("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "b")])
    equal(maps(kind="letter").get_or_none(name="b"), None)


def lists_come_as_tables():
    table = maps(kind="letter").as_table()
    equal([column["name"] for column in table.columns], ["Name", "Data", "Age"])
    equal([row["cells"][:2] for row in table.rows], [["a", 1]])


def workloads_are_scaled_and_deleted_with_their_pods():
    pods = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pods}
    metadata = {"name": "web", "namespace": NAMESPACE}
    web = pykube.Deployment(api, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    web.create()
    web.patch({"spec": {"replicas": 2}})
    found = pykube.Pod.objects(api, namespace=NAMESPACE).filter(selector={"app": "web"})
    eventually("there are two", lambda: len(found.all()) == 2)
    web.delete(propagation_policy="Foreground")
    eventually("there is none", lambda: len(found.all()) == 0)
    eventually("the deployment is gone", lambda: not web.exists())


def custom_resources_are_found_by_discovery():
    crd = pykube.CustomResourceDefinition(api, definition("cubes", "Cube"))
    crd.create()

    def established():
        crd.reload()
        conditions = crd.obj.get("status", {}).get("conditions") or []
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    eventually("the definition is established", established)
    Cube = pykube.object_factory(api, "clients.example.com/v1", "Cube")
    metadata = {"name": "one", "namespace": NAMESPACE}
    body = {"apiVersion": "clients.example.com/v1", "kind": "Cube", "metadata": metadata}
    said = fails(422, Cube(api, {**body, "spec": {}}).create)
    assert "spec.colour: Required value" in said, said
    cube = Cube(api, {**body, "spec": {"colour": "red"}})
    cube.create()
    equal(cube.obj["spec"], {"colour": "red", "size": 1})
    cube.patch({"status": {"sides": 6}}, subresource="status")
    equal(Cube.objects(api, namespace=NAMESPACE).get_by_name("one").obj["status"], {"sides": 6})
    crd.delete()
    eventually("the definition is gone", lambda: not crd.exists())


run(
    objects_are_created_updated_listed_and_watched,
    lists_come_as_tables,
    workloads_are_scaled_and_deleted_with_their_pods,
    custom_resources_are_found_by_discovery,
)
