// `kubernetes-fluent-client`, with which Pepr's operators are built: server-side apply, and watches that list anew.

import assert from 'node:assert/strict';
import { eventually, run, whileCutOff } from './steps.mjs';

// It has one server, which it takes from the environment.
process.env.KUBECONFIG = process.env.FORGETFUL_KUBECONFIG;
const { K8s, RegisterKind, WatchEvent, kind } = await import('kubernetes-fluent-client');

const namespace = 'fluent';
const maps = () => K8s(kind.ConfigMap).InNamespace(namespace);
const map = (name, data) => ({ metadata: { name, namespace }, data });

async function objectsAreAppliedPatchedAndDeleted() {
  await K8s(kind.Namespace).Apply({ metadata: { name: namespace } });
  const made = await K8s(kind.ConfigMap).Apply(map('colours', { sky: 'blue', sun: 'yellow' }));
  assert.deepEqual(made.metadata.managedFields.map(({ operation }) => operation), ['Apply']);
  // What is applied no more is gone.
  assert.deepEqual((await K8s(kind.ConfigMap).Apply(map('colours', { sky: 'grey' }))).data, { sky: 'grey' });
  const operations = [{ op: 'add', path: '/metadata/labels', value: { tier: 'front' } }];
  const patched = await K8s(kind.ConfigMap, { namespace, name: 'colours' }).Patch(operations);
  assert.deepEqual(patched.metadata.labels, { tier: 'front' });
  await assert.rejects(K8s(kind.ConfigMap).Create(map('colours')), (error) => error.status === 409);
  const found = await maps().WithField('metadata.name', 'colours').Get();
  assert.deepEqual(found.items.map(({ data }) => data), [{ sky: 'grey' }]);
  await maps().Delete('colours');
  await assert.rejects(maps().Get('colours'), (error) => error.status === 404);
}

async function aCustomResourceGetsAFinalizerAndAStatus() {
  const schema = {
    type: 'object',
    properties: {
      spec: { type: 'object', properties: { depth: { type: 'integer', minimum: 1 } } },
      status: { type: 'object', properties: { phase: { type: 'string' } } },
    },
  };
  const names = { plural: 'wells', singular: 'well', kind: 'Well' };
  const version = { name: 'v1', served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema: schema } };
  const spec = { group: 'fluent.example.com', scope: 'Namespaced', names, versions: [version] };
  await K8s(kind.CustomResourceDefinition).Apply({ metadata: { name: 'wells.fluent.example.com' }, spec });
  class Well {}
  RegisterKind(Well, { group: 'fluent.example.com', version: 'v1', kind: 'Well', plural: 'wells' });
  await eventually('it is served', () => K8s(Well).InNamespace(namespace).Get().then(() => true, () => false));
  const well = (depth) => ({ metadata: { name: 'deep', namespace }, spec: { depth } });
  await assert.rejects(K8s(Well).Apply(well(0)), (error) => error.status === 422);
  await K8s(Well).Apply(well(7));
  await K8s(Well).InNamespace(namespace).Finalize('add', 'fluent.example.com/dry', 'deep');
  const status = await K8s(Well).PatchStatus({ metadata: { name: 'deep', namespace }, status: { phase: 'Full' } });
  assert.deepEqual([status.spec, status.status], [{ depth: 7 }, { phase: 'Full' }]);
  await K8s(Well).InNamespace(namespace).Delete('deep');
  const ending = await K8s(Well).InNamespace(namespace).Get('deep');
  assert(ending.metadata.deletionTimestamp && ending.metadata.finalizers.length === 1);
  await K8s(Well).InNamespace(namespace).Finalize('remove', 'fluent.example.com/dry', 'deep');
  await eventually('it is gone', () => K8s(Well).InNamespace(namespace).Get('deep').then(() => false, () => true));
}

async function aWatchListsAgainAfter410() {
  const seen = new Map();
  let expired = 0;
  const watcher = maps().Watch(
    (object, phase) => seen.set(object.metadata.name, phase),
    { resyncDelaySec: 1, lastSeenLimitSeconds: 5 },
  );
  watcher.events.on(WatchEvent.OLD_RESOURCE_VERSION, () => { expired += 1; });
  await K8s(kind.ConfigMap).Apply(map('lost'));
  await watcher.start();
  await eventually('it has listed', () => seen.get('lost') === 'ADDED');
  await K8s(kind.ConfigMap).Apply(map('live'));
  await eventually('it watches', () => seen.has('live'));
  const before = expired;
  await whileCutOff(`kubectl -n ${namespace} delete configmap lost && kubectl -n ${namespace} create configmap gained`);
  await eventually('it sees what was made meanwhile', () => seen.has('gained'));
  await eventually('it sees what was deleted', () => seen.get('lost') === 'DELETED');
  assert(expired > before, 'it went on where it had been');
  await K8s(kind.ConfigMap).Apply(map('later'));
  await eventually('it watches again', () => seen.has('later'));
  watcher.close();
}

await run(objectsAreAppliedPatchedAndDeleted, aCustomResourceGetsAFinalizerAndAStatus, aWatchListsAgainAfter410);
