// The official client of npm, `@kubernetes/client-node`.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import * as k8s from '@kubernetes/client-node';
import { eventually, run, whileCutOff } from './steps.mjs';

const namespace = 'node';

function connect(kubeconfig) {
  const config = new k8s.KubeConfig();
  config.loadFromFile(kubeconfig);
  return config;
}

// A control plane that keeps its history as usual, and one that soon forgets it, behind a network that can be cut.
const steady = connect(process.env.KUBECONFIG);
const forgetful = connect(process.env.FORGETFUL_KUBECONFIG);
const core = steady.makeApiClient(k8s.CoreV1Api);
const apps = steady.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(steady);

// The call fails with this status and reason. Returns the Status that the server sent.
async function refused(code, reason, call) {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof k8s.ApiException)) throw error;
    const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
    assert.deepEqual([status.kind, status.code, status.reason], ['Status', code, reason]);
    return status;
  }
  assert.fail(`expected ${code} ${reason}, but it succeeded`);
}

const configMap = (name, data, labels) => ({ metadata: { name, labels }, data });
const names = (list) => list.items.map((item) => item.metadata.name);
const withType = (type) => k8s.setHeaderOptions('Content-Type', type);

async function objectsAreCreatedReadReplacedAndDeleted() {
  await core.createNamespace({ body: { metadata: { name: namespace } } });
  const made = await core.createNamespacedConfigMap({ namespace, body: configMap('colours', { sky: 'blue' }) });
  assert(made.metadata.uid && made.metadata.creationTimestamp instanceof Date);
  const again = core.createNamespacedConfigMap({ namespace, body: configMap('colours') });
  assert.equal((await refused(409, 'AlreadyExists', again)).message, 'configmaps "colours" already exists');
  await refused(404, 'NotFound', core.readNamespacedConfigMap({ namespace, name: 'nothing' }));
  const wrong = core.createNamespacedConfigMap({ namespace, body: configMap('Not_A_Name') });
  assert.equal((await refused(422, 'Invalid', wrong)).details.causes[0].field, 'metadata.name');

  const replace = () => core.replaceNamespacedConfigMap({ namespace, name: 'colours', body: made });
  made.data.sky = 'grey';
  assert.equal((await replace()).data.sky, 'grey');
  await refused(409, 'Conflict', replace());
  const body = { preconditions: { uid: 'another' } };
  await refused(409, 'Conflict', core.deleteNamespacedConfigMap({ namespace, name: 'colours', body }));
  const deleted = await core.deleteNamespacedConfigMap({ namespace, name: 'colours' });
  assert.deepEqual([deleted.status, deleted.details.uid], ['Success', made.metadata.uid]);
}

async function listsArePagedAndSelected() {
  for (let n = 0; n < 5; n++) {
    await core.createNamespacedConfigMap({ namespace, body: configMap(`page-${n}`, {}, { page: `${n % 2}` }) });
  }
  const pages = [];
  let token;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: 'page', limit: 2, _continue: token });
    pages.push(names(page));
    token = page.metadata._continue;
  } while (token);
  assert.deepEqual(pages, [['page-0', 'page-1'], ['page-2', 'page-3'], ['page-4']]);
  const odd = await core.listConfigMapForAllNamespaces({ labelSelector: 'page=1' });
  assert.deepEqual(names(odd), ['page-1', 'page-3']);
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'page in (0, 1)' });
  assert.deepEqual(names(await core.listNamespacedConfigMap({ namespace, labelSelector: 'page' })), []);
}

async function aWatchContinuesWhereAListEnded() {
  const list = await core.listNamespacedConfigMap({ namespace });
  await core.createNamespacedConfigMap({ namespace, body: configMap('watched', { n: '1' }) });
  await core.replaceNamespacedConfigMap({ namespace, name: 'watched', body: configMap('watched', { n: '2' }) });
  await core.deleteNamespacedConfigMap({ namespace, name: 'watched' });
  const seen = [];
  const query = { resourceVersion: list.metadata.resourceVersion, fieldSelector: 'metadata.name=watched' };
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const request = await new k8s.Watch(steady).watch(
    path,
    query,
    (type, object) => seen.push([type, object.data?.n]),
    () => {},
  );
  await eventually('it sees three events', () => seen.length >= 3);
  request.abort();
  assert.deepEqual(seen, [['ADDED', '1'], ['MODIFIED', '2'], ['DELETED', '2']]);
}

async function eachContentTypePatchesInItsWay() {
  const labels = { app: 'app' };
  const containers = [{ name: 'main', image: 'example.com/main:1' }];
  const template = { metadata: { labels }, spec: { containers } };
  const spec = { replicas: 2, selector: { matchLabels: labels }, template };
  await apps.createNamespacedDeployment({ namespace, body: { metadata: { name: 'app' }, spec } });
  const patch = (type, body) =>
    apps.patchNamespacedDeployment({ namespace, name: 'app', body }, withType(k8s.PatchStrategy[type]));
  const inTemplate = (container) => ({ spec: { template: { spec: { containers: [container] } } } });

  // By the name of the container, which a merge would replace.
  const env = [{ name: 'A', value: '1' }];
  let patched = await patch('StrategicMergePatch', inTemplate({ name: 'main', env }));
  let [container] = patched.spec.template.spec.containers;
  assert.deepEqual([container.image, container.env[0].value], ['example.com/main:1', '1']);
  patched = await patch('JsonPatch', [{ op: 'replace', path: '/spec/replicas', value: 3 }]);
  assert.equal(patched.spec.replicas, 3);
  await refused(422, 'Invalid', patch('JsonPatch', [{ op: 'test', path: '/spec/replicas', value: 1 }]));
  patched = await patch('MergePatch', inTemplate({ name: 'main', image: 'example.com/main:2' }));
  assert.equal(patched.spec.template.spec.containers[0].env, undefined);
  await eventually('the controllers make its pods', async () =>
    names(await core.listNamespacedPod({ namespace, labelSelector: 'app=app' })).length >= 3);
  await apps.deleteNamespacedDeployment({ namespace, name: 'app', propagationPolicy: 'Foreground' });
  await eventually('it goes', async () => names(await apps.listNamespacedDeployment({ namespace })).length === 0);
  assert.deepEqual(names(await core.listNamespacedPod({ namespace })), []);
}

async function applyNamesConflictsAndForces() {
  const owned = (data) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'owned', namespace }, data });
  const apply = (manager, data, force) =>
    objects.patch(owned(data), undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
  await apply('painter', { sky: 'blue', sun: 'yellow' });
  const said = await refused(409, 'Conflict', apply('weather', { sky: 'grey' }));
  assert.match(said.message, /conflict with "painter"/);
  assert.deepEqual(said.details.causes.map((cause) => [cause.reason, cause.field]), [['FieldManagerConflict', '.data.sky']]);
  await apply('weather', { sky: 'grey' }, true);
  // What its manager applies no more is gone, unless it is another's too.
  const left = await apply('painter', undefined);
  assert.deepEqual(left.data, { sky: 'grey' });
  assert.deepEqual(left.metadata.managedFields.map((entry) => entry.manager), ['weather']);
}

function definition() {
  const spec = {
    type: 'object',
    required: ['colour'],
    properties: { colour: { type: 'string', _enum: ['black', 'red'] }, legs: { type: 'integer', _default: 6 } },
  };
  const status = { type: 'object', properties: { colony: { type: 'string' } } };
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec, status } } };
  return {
    metadata: { name: 'ants.clients.example.com' },
    spec: {
      group: 'clients.example.com',
      scope: 'Namespaced',
      names: { plural: 'ants', singular: 'ant', kind: 'Ant' },
      versions: [{ name: 'v1', served: true, storage: true, subresources: { status: {} }, schema }],
    },
  };
}

async function customResourcesAreDefinedValidatedAndChanged() {
  const extensions = steady.makeApiClient(k8s.ApiextensionsV1Api);
  const custom = steady.makeApiClient(k8s.CustomObjectsApi);
  const name = 'ants.clients.example.com';
  await extensions.createCustomResourceDefinition({ body: definition() });
  await eventually('the definition is established', async () => {
    const { status } = await extensions.readCustomResourceDefinitionStatus({ name });
    return status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True');
  });
  const ants = { group: 'clients.example.com', version: 'v1', plural: 'ants', namespace };
  const ant = (name, spec) => ({
    apiVersion: 'clients.example.com/v1',
    kind: 'Ant',
    metadata: { name, namespace },
    spec,
    status: { colony: 'none' },
  });
  const made = await custom.createNamespacedCustomObject({ ...ants, body: ant('atta', { colour: 'red' }) });
  assert.deepEqual([made.spec, made.status], [{ colour: 'red', legs: 6 }, undefined]);
  const green = custom.createNamespacedCustomObject({ ...ants, body: ant('x', { colour: 'green' }) });
  const said = await refused(422, 'Invalid', green);
  assert.match(said.message, /spec\.colour: Unsupported value: "green": supported values: "black", "red"/);

  const one = { ...ants, name: 'atta' };
  const merge = withType(k8s.PatchStrategy.MergePatch);
  const status = await custom.patchNamespacedCustomObjectStatus({ ...one, body: { status: { colony: 'hill' } } }, merge);
  assert.deepEqual([status.status, status.metadata.generation], [{ colony: 'hill' }, 1]);
  const changed = await custom.patchNamespacedCustomObject({ ...one, body: { spec: { legs: 5 } } }, merge);
  assert.deepEqual([changed.spec.legs, changed.metadata.generation], [5, 2]);
  const strategic = withType(k8s.PatchStrategy.StrategicMergePatch);
  await refused(415, 'UnsupportedMediaType', custom.patchNamespacedCustomObject({ ...one, body: {} }, strategic));

  // By discovery.
  const found = await objects.list('clients.example.com/v1', 'Ant', namespace);
  assert.deepEqual(names(found), ['atta']);
  await objects.delete(ant('atta'));
  await refused(404, 'NotFound', custom.getNamespacedCustomObject(one));
  await extensions.deleteCustomResourceDefinition({ name });
  await eventually('its objects are served no more', () =>
    custom.listNamespacedCustomObject(ants).then(() => false, (error) => error.code === 404));
}

async function anInformerListsAgainAfter410() {
  const api = forgetful.makeApiClient(k8s.CoreV1Api);
  const create = (name) => api.createNamespacedConfigMap({ namespace, body: configMap(name) });
  await api.createNamespace({ body: { metadata: { name: namespace } } });
  await create('lost');

  let lists = 0;
  const deleted = [];
  const list = () => {
    lists += 1;
    return api.listNamespacedConfigMap({ namespace });
  };
  const informer = k8s.makeInformer(forgetful, `/api/v1/namespaces/${namespace}/configmaps`, list);
  informer.on('delete', (object) => deleted.push(object.metadata.name));
  // As its documentation has it: an error ends it, and whoever made it starts it again.
  informer.on('error', () => setTimeout(() => informer.start(), 200));
  await informer.start();
  await eventually('it has listed', () => informer.get('lost', namespace));
  await create('live');
  await eventually('it watches', () => informer.get('live', namespace));
  const before = lists;

  await whileCutOff(`kubectl -n ${namespace} delete configmap lost && kubectl -n ${namespace} create configmap gained`);
  await eventually('it has listed what was made meanwhile', () => informer.get('gained', namespace));
  assert(lists > before, 'it went on where it had been');
  assert.deepEqual([deleted, informer.get('lost', namespace)], [['lost'], undefined]);
  await create('later');
  await eventually('it watches again', () => informer.get('later', namespace));
  await informer.stop();
}

// The client has no leader election of its own, so this is what its users write: a Lease that is renewed, taken when its
// time has passed, and never written over another's change.
class Candidate {
  leads = false;
  stopped = false;

  constructor(identity) {
    this.identity = identity;
    this.leases = steady.makeApiClient(k8s.CoordinationV1Api);
    this.done = this.run();
  }

  async run() {
    while (!this.stopped) {
      this.leads = await this.attempt();
      await sleep(300);
    }
    this.leads = false;
  }

  async attempt() {
    const now = new k8s.V1MicroTime();
    const mine = { holderIdentity: this.identity, leaseDurationSeconds: 8, renewTime: now };
    try {
      const lease = await this.leases.readNamespacedLease({ namespace, name: 'leader' });
      const { holderIdentity, leaseDurationSeconds, renewTime, leaseTransitions } = lease.spec;
      const ended = Date.parse(renewTime) + leaseDurationSeconds * 1000 < now.getTime();
      if (holderIdentity === this.identity) lease.spec = { ...lease.spec, ...mine };
      else if (ended) lease.spec = { ...mine, acquireTime: now, leaseTransitions: leaseTransitions + 1 };
      else return false;
      await this.leases.replaceNamespacedLease({ namespace, name: 'leader', body: lease });
      return true;
    } catch (error) {
      if (error.code === 409) return false;
      if (error.code !== 404) throw error;
    }
    const spec = { ...mine, acquireTime: now, leaseTransitions: 0 };
    const body = { metadata: { name: 'leader' }, spec };
    return this.leases.createNamespacedLease({ namespace, body }).then(() => true, (error) => {
      if (error.code !== 409) throw error;
      return false;
    });
  }
}

async function leadershipPassesOn() {
  const leases = steady.makeApiClient(k8s.CoordinationV1Api);
  const read = async () => (await leases.readNamespacedLease({ namespace, name: 'leader' })).spec;
  const candidates = ['a', 'b', 'c'].map((identity) => new Candidate(identity));
  const leaders = () => candidates.filter((candidate) => candidate.leads);
  const first = await eventually('one leads', () => leaders()[0]);
  const before = await read();
  assert.equal(before.holderIdentity, first.identity);
  await eventually('it renews the lease', async () => (await read()).renewTime > before.renewTime);
  first.stopped = true;
  await first.done;
  const next = await eventually('another leads', () => leaders()[0]);
  assert.notEqual(next, first);
  const after = await read();
  assert(after.leaseTransitions > before.leaseTransitions, `${JSON.stringify(before)} ${JSON.stringify(after)}`);
  for (const candidate of candidates) candidate.stopped = true;
  await Promise.all(candidates.map((candidate) => candidate.done));
}

await run(
  objectsAreCreatedReadReplacedAndDeleted,
  listsArePagedAndSelected,
  aWatchContinuesWhereAListEnded,
  eachContentTypePatchesInItsWay,
  applyNamesConflictsAndForces,
  customResourcesAreDefinedValidatedAndChanged,
  anInformerListsAgainAfter410,
  leadershipPassesOn,
);
