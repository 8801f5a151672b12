"""`lightkube`, with which Juju's operators are built."""

import httpx2
import yaml
from lightkube import ApiError, Client, KubeConfig, codecs
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.operators import exists, in_
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import CascadeType, PatchType

from steps import STEADY, definition, equal, eventually, refused, run

client = Client(config=KubeConfig.from_file(STEADY), namespace="lightkube", field_manager="lightkube")


def fails(status, reason, call):
    return refused(ApiError, call, status, reason, body=lambda error: error.response.text)


def config_map(name, data=None, **labels):
    return ConfigMap(metadata=ObjectMeta(name=name, labels=labels), data=data)


def objects_are_created_listed_and_watched():
    client.create(Namespace(metadata=ObjectMeta(name="lightkube")))
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        client.create(config_map(name, tier=tier))
    fails(409, "AlreadyExists", lambda: client.create(config_map("a")))
    listed = client.list(ConfigMap, labels={"tier": in_(["front"])}, chunk_size=1)
    equal([item.metadata.name for item in listed], ["a", "c"])
    watched = client.watch(ConfigMap, labels={"tier": exists()}, resource_version=listed.resourceVersion)
    client.delete(ConfigMap, "b")
    event, deleted = next(watched)
    equal((event, deleted.metadata.name), ("DELETED", "b"))
    client.deletecollection(ConfigMap)
    eventually("none of them is left", lambda: not list(client.list(ConfigMap, labels={"tier": exists()})))


def each_patch_merges_in_its_way():
    client.create(config_map("patched", {"a": "1", "b": "2"}))
    patch = lambda kind, body: client.patch(ConfigMap, "patched", body, patch_type=kind).data
    equal(patch(PatchType.MERGE, {"data": {"a": None}}), {"b": "2"})
    equal(patch(PatchType.STRATEGIC, {"data": {"c": "3"}}), {"b": "2", "c": "3"})
    equal(patch(PatchType.JSON, [{"op": "move", "from": "/data/c", "path": "/data/d"}]), {"b": "2", "d": "3"})


def apply_names_conflicts_and_forces():
    client.apply(config_map("owned", {"sky": "blue"}))
    grey = config_map("owned", {"sky": "grey"})
    said = fails(409, "Conflict", lambda: client.apply(grey, field_manager="weather"))
    equal(said["details"]["causes"][0]["field"], ".data.sky")
    equal(client.apply(grey, field_manager="weather", force=True).data, {"sky": "grey"})


def workloads_are_scaled_and_deleted_with_their_pods():
    pods = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pods}
    client.create(Deployment.from_dict({"metadata": {"name": "web"}, "spec": spec}))
    scale = client.get(Deployment.Scale, "web")
    scale.spec.replicas = 2
    scale.metadata.resourceVersion = None
    equal(client.replace(scale, "web").spec.replicas, 2)
    eventually("there are two", lambda: len(list(client.list(Pod, labels={"app": "web"}))) == 2)
    client.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
    eventually("there is none", lambda: not list(client.list(Pod, labels={"app": "web"})))


def custom_resources_are_waited_for_and_have_a_status():
    [crd] = codecs.load_all_yaml(yaml.dump(definition("lights", "Light")))
    client.create(crd)
    name = "lights.clients.example.com"
    client.wait(CustomResourceDefinition, name, for_conditions=["Established"])
    Light = create_namespaced_resource("clients.example.com", "v1", "Light", "lights")
    made = client.create(Light(metadata={"name": "lamp"}, spec={"colour": "white"}))
    equal(made.spec["size"], 1)
    fails(422, "Invalid", lambda: client.create(Light(metadata={"name": "x"}, spec={"colour": "plaid"})))
    lit = client.patch(Light.Status, "lamp", {"status": {"lit": True}}, patch_type=PatchType.MERGE)
    equal((lit.status, lit.metadata.generation), ({"lit": True}, 1))
    client.delete(CustomResourceDefinition, name)
    eventually("it is served no more", lambda: not served(Light))


def served(resource):
    try:
        list(client.list(resource))
        return True
    except httpx2.HTTPStatusError as error:
        # Whether the group is known any more or not, which decides about the form of the answer.
        equal(error.response.status_code, 404)
        return False


run(
    objects_are_created_listed_and_watched,
    each_patch_merges_in_its_way,
    apply_names_conflicts_and_forces,
    workloads_are_scaled_and_deleted_with_their_pods,
    custom_resources_are_waited_for_and_have_a_status,
)
