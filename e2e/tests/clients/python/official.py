"""The official client of PyPI, `kubernetes`."""

import threading

from kubernetes import client, config, dynamic, informer, utils, watch
from kubernetes.client import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from steps import FORGETFUL, PATIENCE, STEADY, definition, equal, eventually, refused, run, while_cut_off

config.load_kube_config(STEADY)
core, apps, authorization = client.CoreV1Api(), client.AppsV1Api(), client.AuthorizationV1Api()
NAMESPACE = "python"


def fails(status, reason, call):
    return refused(ApiException, call, status, reason)


def config_map(name, data=None, **metadata):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, **metadata), data=data or {})


def deployment(name):
    labels = {"app": name}
    container = client.V1Container(name="main", image="example.com/main:1")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template
    )
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


def objects_are_created_read_replaced_and_deleted():
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    made = core.create_namespaced_config_map(NAMESPACE, config_map("colours", {"sky": "blue"}))
    assert made.metadata.uid and made.metadata.creation_timestamp
    equal(core.read_namespaced_config_map("colours", NAMESPACE).data, {"sky": "blue"})

    again = lambda: core.create_namespaced_config_map(NAMESPACE, config_map("colours"))
    said = fails(409, "AlreadyExists", again)
    equal(said["message"], 'configmaps "colours" already exists')
    fails(404, "NotFound", lambda: core.read_namespaced_config_map("nothing", NAMESPACE))
    said = fails(422, "Invalid", lambda: core.create_namespaced_config_map(NAMESPACE, config_map("Not_A_Name")))
    equal(said["details"]["causes"][0]["field"], "metadata.name")

    tried = core.create_namespaced_config_map(NAMESPACE, config_map("tried"), dry_run="All")
    assert tried.metadata.uid
    fails(404, "NotFound", lambda: core.read_namespaced_config_map("tried", NAMESPACE))

    made.data["sky"] = "grey"
    replaced = core.replace_namespaced_config_map("colours", NAMESPACE, made)
    made.data["sky"] = "red"
    fails(409, "Conflict", lambda: core.replace_namespaced_config_map("colours", NAMESPACE, made))

    other = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    fails(409, "Conflict", lambda: core.delete_namespaced_config_map("colours", NAMESPACE, body=other))
    own = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=replaced.metadata.uid))
    equal(core.delete_namespaced_config_map("colours", NAMESPACE, body=own)["status"], "Success")


def lists_are_paged_and_selected():
    for number in range(7):
        labels = {"parity": "odd" if number % 2 else "even"}
        core.create_namespaced_config_map(NAMESPACE, config_map(f"page-{number}", labels=labels))
    pages, token = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="parity", limit=3, _continue=token)
        pages.append([item.metadata.name for item in page.items])
        token = page.metadata._continue
        if not token:
            break
        # Nobody has counted how many of the rest are selected.
        equal(page.metadata.remaining_item_count, None)
    equal([len(page) for page in pages], [3, 3, 1])
    everything = len(core.list_namespaced_config_map(NAMESPACE, resource_version="0").items)
    first = core.list_namespaced_config_map(NAMESPACE, limit=1)
    assert first.metadata.remaining_item_count in (everything - 1, everything), first.metadata

    odd = core.list_namespaced_config_map(NAMESPACE, label_selector="parity=odd")
    equal([item.metadata.name for item in odd.items], ["page-1", "page-3", "page-5"])
    one = core.list_config_map_for_all_namespaces(field_selector="metadata.name=page-2")
    equal([item.metadata.namespace for item in one.items], [NAMESPACE])
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="parity in (odd, even)")
    equal(core.list_namespaced_config_map(NAMESPACE, label_selector="parity").items, [])


def a_watch_continues_where_a_list_ended():
    version = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    made = core.create_namespaced_config_map(NAMESPACE, config_map("watched", {"n": "1"}))
    made.data["n"] = "2"
    core.replace_namespaced_config_map("watched", NAMESPACE, made)
    core.delete_namespaced_config_map("watched", NAMESPACE)
    stream = watch.Watch().stream(
        core.list_namespaced_config_map, NAMESPACE, resource_version=version, field_selector="metadata.name=watched"
    )
    seen = [next(stream) for _ in range(3)]
    equal([event["type"] for event in seen], ["ADDED", "MODIFIED", "DELETED"])
    equal([event["object"].data["n"] for event in seen], ["1", "2", "2"])
    versions = [int(event["object"].metadata.resource_version) for event in seen]
    equal(versions, sorted(versions))


def each_content_type_patches_in_its_way():
    apps.create_namespaced_deployment(NAMESPACE, deployment("app"))

    def patch(kind, body):
        kind = f"application/{kind}-patch+json"
        return apps.patch_namespaced_deployment("app", NAMESPACE, body, _content_type=kind)

    env = [{"name": "A", "value": "1"}]
    # By the name of the container, which a merge would replace.
    merged = patch("strategic-merge", {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}})
    container = merged.spec.template.spec.containers[0]
    equal((container.image, container.env[0].value), ("example.com/main:1", "1"))
    equal(patch("json", [{"op": "replace", "path": "/spec/replicas", "value": 3}]).spec.replicas, 3)
    failed = [{"op": "test", "path": "/spec/replicas", "value": 1}]
    fails(422, "Invalid", lambda: patch("json", failed))
    containers = [{"name": "main", "image": "example.com/main:2"}]
    merged = patch("merge", {"spec": {"template": {"spec": {"containers": containers}}}})
    equal(merged.spec.template.spec.containers[0].env, None)

    scale = apps.read_namespaced_deployment_scale("app", NAMESPACE)
    scale.spec.replicas = 2
    # The controllers write too.
    scale.metadata.resource_version = None
    equal(apps.replace_namespaced_deployment_scale("app", NAMESPACE, scale).spec.replicas, 2)

    def followed():
        app = apps.read_namespaced_deployment_status("app", NAMESPACE)
        # Nothing runs here, so the rollout does not end.
        return app.status.observed_generation == app.metadata.generation and app.status.updated_replicas

    eventually("the controllers follow", followed)
    apps.delete_namespaced_deployment("app", NAMESPACE, propagation_policy="Foreground")
    eventually("its pods go first", lambda: not core.list_namespaced_pod(NAMESPACE).items)
    eventually("then it goes", lambda: not apps.list_namespaced_deployment(NAMESPACE).items)


def apply_names_conflicts_and_forces():
    maps = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")

    def apply(manager, data, **force):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned"}, "data": data}
        return maps.server_side_apply(body=body, namespace=NAMESPACE, field_manager=manager, **force)

    apply("painter", {"sky": "blue", "sun": "yellow"})
    try:
        apply("weather", {"sky": "grey"})
        raise AssertionError("a conflict was expected")
    except dynamic.exceptions.ConflictError as error:
        said = error.summary()
        assert 'conflict with "painter"' in said and ".data.sky" in said, said
    apply("weather", {"sky": "grey"}, force_conflicts=True)
    # What its manager applies no more is gone, unless it is another's too.
    left = apply("painter", {})
    equal(left.data.to_dict(), {"sky": "grey"})
    owned = {entry.manager: entry.fieldsV1.to_dict() for entry in left.metadata.managedFields}
    equal(owned, {"painter": {"f:data": {}}, "weather": {"f:data": {"f:sky": {}}}})


def custom_resources_are_defined_validated_and_scaled():
    extensions, custom = client.ApiextensionsV1Api(), client.CustomObjectsApi()
    extensions.create_custom_resource_definition(definition("pythons", "Python"))

    def established():
        status = extensions.read_custom_resource_definition_status("pythons.clients.example.com").status
        conditions = {condition.type: condition.status for condition in (status.conditions or [])}
        return conditions.get("Established") == "True" and conditions.get("NamesAccepted") == "True"

    eventually("the definition is established", established)
    where = ("clients.example.com", "v1", NAMESPACE, "pythons")

    def python(name, **spec):
        return {
            "apiVersion": "clients.example.com/v1",
            "kind": "Python",
            "metadata": {"name": name},
            "spec": spec,
            "status": {"size": 9},
        }

    made = custom.create_namespaced_custom_object(*where, python("kaa", colour="green"))
    equal((made["spec"]["size"], made.get("status"), made["metadata"]["generation"]), (1, None, 1))
    said = fails(422, "Invalid", lambda: custom.create_namespaced_custom_object(*where, python("x", colour="plaid")))
    assert "no such colour" in said["message"], said
    said = fails(422, "Invalid", lambda: custom.create_namespaced_custom_object(*where, python("x")))
    equal(said["details"]["causes"][0], {
        "reason": "FieldValueRequired", "message": "Required value", "field": "spec.colour",
    })

    patched = custom.patch_namespaced_custom_object_status(*where, "kaa", {"status": {"size": 4}})
    equal((patched["status"], patched["metadata"]["generation"]), ({"size": 4}, 1))
    custom.patch_namespaced_custom_object_scale(*where, "kaa", {"spec": {"replicas": 6}})
    scale = custom.get_namespaced_custom_object_scale(*where, "kaa")
    equal((scale["spec"]["replicas"], scale["status"]["replicas"]), (6, 4))
    found = custom.get_namespaced_custom_object(*where, "kaa")
    equal((found["spec"]["size"], found["metadata"]["generation"]), (6, 2))

    pythons = dynamic.DynamicClient(client.ApiClient()).resources.get(
        api_version="clients.example.com/v1", kind="Python"
    )
    equal([item.metadata.name for item in pythons.get(namespace=NAMESPACE).items], ["kaa"])
    for event in pythons.watch(namespace=NAMESPACE, timeout=PATIENCE):
        equal((event["type"], event["object"].spec.colour), ("ADDED", "green"))
        break
    custom.delete_namespaced_custom_object(*where, "kaa")
    fails(404, "NotFound", lambda: custom.get_namespaced_custom_object(*where, "kaa"))
    extensions.delete_custom_resource_definition("pythons.clients.example.com")
    eventually("its objects are served no more", lambda: not served(custom))





def served(custom):
    try:
        custom.list_namespaced_custom_object("clients.example.com", "v1", NAMESPACE, "pythons")
        return True
    except ApiException as error:
        equal(error.status, 404)
        return False


def manifests_are_created_from_yaml():
    manifest = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"token": "s3cret"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "robot"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": NAMESPACE}],
        },
    ]
    utils.create_from_yaml(client.ApiClient(), yaml_objects=manifest, namespace=NAMESPACE)
    equal(core.read_namespaced_secret("key", NAMESPACE).data, {"token": "czNjcmV0"})


def a_service_account_sees_what_it_may():
    request = client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)
    )
    token = core.create_namespaced_service_account_token("robot", NAMESPACE, request).status.token
    settings = client.Configuration.get_default_copy()
    settings.cert_file = settings.key_file = None
    settings.api_key = {"authorization": f"Bearer {token}"}
    robot = client.ApiClient(settings)
    me = client.AuthenticationV1Api(robot).create_self_subject_review({})
    equal(me.status.user_info.username, f"system:serviceaccount:{NAMESPACE}:robot")

    def may(verb, resource):
        attributes = client.V1ResourceAttributes(namespace=NAMESPACE, verb=verb, resource=resource)
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        return client.AuthorizationV1Api(robot).create_self_subject_access_review(review).status.allowed

    eventually("it may list", lambda: may("list", "configmaps"))
    equal((may("list", "secrets"), may("create", "configmaps")), (False, False))
    assert client.CoreV1Api(robot).list_namespaced_config_map(NAMESPACE).items
    said = fails(403, "Forbidden", lambda: client.CoreV1Api(robot).list_namespaced_secret(NAMESPACE))
    assert 'cannot list resource "secrets"' in said["message"], said


def an_informer_lists_again_after_410():
    forgetful = client.CoreV1Api(config.new_client_from_config(FORGETFUL))
    forgetful.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    forgetful.create_namespaced_config_map(NAMESPACE, config_map("lost"))
    expired, deleted = threading.Event(), threading.Event()

    def on_error(error):
        if isinstance(error, ApiException) and error.status == 410:
            expired.set()

    def on_deleted(lost):
        if lost.metadata.name == "lost":
            deleted.set()

    maps = informer.SharedInformer(forgetful.list_namespaced_config_map, namespace=NAMESPACE)
    maps.add_event_handler(informer.ERROR, on_error)
    maps.add_event_handler(informer.DELETED, on_deleted)
    maps.start()
    cached = lambda name: maps.cache.get_by_key(f"{NAMESPACE}/{name}")
    eventually("it has listed", lambda: cached("lost"))
    # Then its watch stands.
    forgetful.create_namespaced_config_map(NAMESPACE, config_map("live"))
    eventually("it watches", lambda: cached("live"))

    old = forgetful.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    while_cut_off(f"kubectl -n {NAMESPACE} delete configmap lost && kubectl -n {NAMESPACE} create configmap gained")
    eventually("it has listed what was made meanwhile", lambda: cached("gained"))
    assert expired.is_set() and deleted.is_set() and not cached("lost")
    forgetful.create_namespaced_config_map(NAMESPACE, config_map("later"))
    eventually("it watches again", lambda: cached("later"))
    maps.stop()

    stream = watch.Watch().stream(forgetful.list_namespaced_config_map, NAMESPACE, resource_version=old)
    try:
        raise AssertionError(f"{next(stream)} from a forgotten revision")
    except ApiException as error:
        equal(error.status, 410)
        assert error.reason.startswith("Expired: too old resource version"), error.reason


def leadership_passes_on():
    order, ends, gone = [], threading.Event(), threading.Event()

    def candidate(name, lead):
        lock = LeaseLock("leader", NAMESPACE, name)

        def started():
            order.append(name)
            lead()

        settings = electionconfig.Config(
            lock,
            lease_duration=10,
            renew_deadline=8,
            retry_period=1,
            onstarted_leading=started,
            onstopped_leading=gone.set if name == "first" else lambda: None,
        )
        election = leaderelection.LeaderElection(settings)
        threading.Thread(target=election.run, daemon=True).start()

    def leads_until_it_fails():
        ends.wait()
        raise RuntimeError("the work of the first leader fails, as it is to")

    leases = client.CoordinationV1Api()
    holder = lambda: leases.read_namespaced_lease("leader", NAMESPACE).spec.holder_identity
    candidate("first", leads_until_it_fails)
    eventually("the first leads", lambda: order == ["first"])
    equal(holder(), "first")
    candidate("second", lambda: None)
    acquired = leases.read_namespaced_lease("leader", NAMESPACE).spec
    eventually(
        "it renews the lease",
        lambda: leases.read_namespaced_lease("leader", NAMESPACE).spec.renew_time > acquired.renew_time,
    )
    equal((order, holder()), (["first"], "first"))
    ends.set()
    eventually("the first steps down", gone.is_set)
    eventually("the second leads", lambda: order == ["first", "second"])
    equal(holder(), "second")


run(
    objects_are_created_read_replaced_and_deleted,
    lists_are_paged_and_selected,
    a_watch_continues_where_a_list_ended,
    each_content_type_patches_in_its_way,
    apply_names_conflicts_and_forces,
    custom_resources_are_defined_validated_and_scaled,
    manifests_are_created_from_yaml,
    a_service_account_sees_what_it_may,
    an_informer_lists_again_after_410,
    leadership_passes_on,
)
