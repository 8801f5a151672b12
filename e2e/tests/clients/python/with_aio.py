"""The official client of PyPI as it is used with asyncio, `kubernetes.aio`."""

import asyncio

from kubernetes.aio import client, config, watch
from kubernetes.aio.client import ApiException
from kubernetes.aio.leaderelection import electionconfig, leaderelection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from steps import FORGETFUL, PATIENCE, STEADY, equal, run, while_cut_off

NAMESPACE = "aio"


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def with_server(kubeconfig):
    """A step that is given a client and a new namespace."""

    def decorate(step):
        async def connected():
            async with await config.new_client_from_config(kubeconfig) as api:
                core = client.CoreV1Api(api)
                try:
                    await core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
                except ApiException as error:
                    equal(error.status, 409)
                await step(api, core)

        def synchronous():
            asyncio.run(asyncio.wait_for(connected(), 2 * PATIENCE))

        synchronous.__name__ = step.__name__
        return synchronous

    return decorate


@with_server(STEADY)
async def many_writers_meet_and_none_is_lost(api, core):
    await core.create_namespaced_config_map(NAMESPACE, config_map("counter", n="0"))

    async def count():
        while True:
            found = await core.read_namespaced_config_map("counter", NAMESPACE)
            found.data["n"] = str(int(found.data["n"]) + 1)
            try:
                return await core.replace_namespaced_config_map("counter", NAMESPACE, found)
            except ApiException as error:
                equal(error.status, 409)

    await asyncio.gather(*(count() for _ in range(20)))
    equal((await core.read_namespaced_config_map("counter", NAMESPACE)).data, {"n": "20"})


@with_server(STEADY)
async def each_patch_merges_in_its_way(api, core):
    await core.create_namespaced_config_map(NAMESPACE, config_map("patched", a="1", b="2"))

    async def patch(kind, body, **options):
        kind = f"application/{kind}"
        made = await core.patch_namespaced_config_map("patched", NAMESPACE, body, _content_type=kind, **options)
        return made.data

    equal(await patch("merge-patch+json", {"data": {"a": None}}), {"b": "2"})
    equal(await patch("strategic-merge-patch+json", {"data": {"c": "3"}}), {"b": "2", "c": "3"})
    equal(await patch("json-patch+json", [{"op": "remove", "path": "/data/b"}]), {"c": "3"})
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "patched"}, "data": {"d": "4"}}
    equal(await patch("apply-patch+yaml", applied, field_manager="aio"), {"c": "3", "d": "4"})


@with_server(STEADY)
async def leadership_passes_on(api, core):
    order = []
    leases = client.CoordinationV1Api(api)
    # This version of the client cannot make the lease itself: it rejects the options that it gives to itself.
    await leases.create_namespaced_lease(NAMESPACE, client.V1Lease(metadata=client.V1ObjectMeta(name="leader")))

    def candidate(name):
        async def leads():
            order.append(name)

        settings = electionconfig.Config(
            LeaseLock("leader", NAMESPACE, name, api),
            lease_duration=10,
            renew_deadline=8,
            retry_period=1,
            onstarted_leading=leads,
            onstopped_leading=None,
        )
        return asyncio.create_task(leaderelection.LeaderElection(settings).run())

    async def until(expected):
        while order != expected:
            await asyncio.sleep(0.05)

    first = candidate("first")
    await until(["first"])
    second = candidate("second")
    before = (await leases.read_namespaced_lease("leader", NAMESPACE)).spec.renew_time
    while (await leases.read_namespaced_lease("leader", NAMESPACE)).spec.renew_time == before:
        await asyncio.sleep(0.05)
    equal(order, ["first"])
    first.cancel()
    await until(["first", "second"])
    equal((await leases.read_namespaced_lease("leader", NAMESPACE)).spec.holder_identity, "second")
    second.cancel()


@with_server(FORGETFUL)
async def a_watch_of_what_is_forgotten_is_told_so(api, core):
    await core.create_namespaced_config_map(NAMESPACE, config_map("seen"))
    version = (await core.list_namespaced_config_map(NAMESPACE)).metadata.resource_version
    await asyncio.to_thread(while_cut_off, "true")
    async with watch.Watch().stream(
        core.list_namespaced_config_map, NAMESPACE, resource_version=version, timeout_seconds=PATIENCE
    ) as stream:
        try:
            raise AssertionError(f"{await anext(stream)} from a forgotten revision")
        except ApiException as error:
            equal(error.status, 410)
    async with watch.Watch().stream(core.list_namespaced_config_map, NAMESPACE) as stream:
        async for event in stream:
            if event["object"].metadata.name == "seen":
                equal(event["type"], "ADDED")
                break


run(
    many_writers_meet_and_none_is_lost,
    each_patch_merges_in_its_way,
    leadership_passes_on,
    a_watch_of_what_is_forgotten_is_told_so,
)
