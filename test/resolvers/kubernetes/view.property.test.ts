import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import type { ServiceState } from '../../../src/resolvers/kubernetes/service.ts';
import { readSlice, type Slice, type SliceObject } from '../../../src/resolvers/kubernetes/slice.ts';
import { View } from '../../../src/resolvers/kubernetes/view.ts';
import { restated } from './restatement.ts';

const maybe = fc.option(fc.boolean(), { nil: null });
const hintNames = fc.option(
  fc.subarray(['a', 'b']).map((names) => names.map((name) => ({ name }))),
  { nil: null },
);

/** Few addresses and pods, so that they meet in several slices. */
const endpoint = (family: 4 | 6) =>
  fc.record(
    {
      addresses: fc
        .integer({ min: 1, max: 5 })
        .map((n) => [family === 6 ? `fd00::${n}` : `10.0.0.${n}`, '10.9.9.9']),
      conditions: fc.option(fc.record({ ready: maybe, serving: maybe, terminating: maybe }), { nil: null }),
      targetRef: fc.option(fc.record({ uid: fc.constantFrom('p1', 'p2', 'p3', 'p4') }), { nil: null }),
      nodeName: fc.constantFrom('a', 'b', null),
      zone: fc.constantFrom('a', 'b', null),
      hints: fc.option(fc.record({ forZones: hintNames, forNodes: hintNames }), { nil: null }),
    },
    { requiredKeys: ['addresses'] },
  );

const ports = fc.constantFrom(
  null,
  [],
  [{ name: 'http', port: 8080 }],
  [{ name: 'http', port: 8081, protocol: 'TCP' }],
  [
    { name: 'grpc', port: 9090 },
    { name: 'http', port: 8080 },
  ],
  [{ name: 'http', port: 53, protocol: 'UDP' }],
  [{ name: 'http', port: null }],
);

const slice: fc.Arbitrary<SliceObject> = fc.constantFrom<4 | 6 | 'FQDN'>(4, 4, 6, 'FQDN').chain((kind) =>
  fc.record({
    addressType: fc.constant(kind === 'FQDN' ? kind : `IPv${kind}`),
    endpoints: fc.option(
      // The API refuses an address that is twice in one slice only by luck, but what it says twice it says alike.
      fc.uniqueArray(endpoint(kind === 6 ? 6 : 4), {
        maxLength: 5,
        selector: ({ addresses, targetRef }) => `${addresses[0]} ${targetRef?.uid}`,
      }),
      { nil: null },
    ),
    ports,
  }),
);

const event = fc.record({
  name: fc.constantFrom('s1', 's2', 's3'),
  slice: fc.option(slice, { nil: undefined }),
});

const situation = fc.record({
  family: fc.constantFrom<4 | 6 | 'both'>(4, 6, 'both'),
  preferred: fc.constantFrom<4 | 6>(4, 6),
  zone: fc.constantFrom('a', undefined),
  node: fc.constantFrom('a', undefined),
  hints: fc.boolean(),
  local: fc.boolean(),
});

function service(local: boolean, family: 4 | 6): ServiceState {
  // The target's number leads to the name; a slice whose port has no number is passed over as kube-proxy does.
  return {
    kind: 'present',
    ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: undefined }],
    headless: false,
    externalName: undefined,
    local,
    family,
  };
}

function take(view: View, slices: ReadonlyMap<string, Slice>, name: string, state: ServiceState): void {
  view.learn(state);
  view.update(name, slices.get(name));
  view.choose();
}

test('after any history of slices the set is what a plain restatement of the rules says', () => {
  fc.assert(
    fc.property(situation, fc.array(event, { minLength: 1, maxLength: 8 }), (given, history) => {
      const local = given.local && given.node !== undefined;
      const view = new View({
        target: { protocol: 'http:', host: 'orders', port: 80 },
        location: { zone: given.zone, node: given.node, hints: given.hints },
        family: given.family,
      });
      const objects = new Map<string, SliceObject>();
      const slices = new Map<string, Slice>();
      const state = service(given.local, given.preferred);
      for (const { name, slice: object } of history) {
        if (object === undefined) {
          objects.delete(name);
          slices.delete(name);
        } else {
          const known = withNumbers(object);
          objects.set(name, known);
          slices.set(name, readSlice(known, name, slices.get(name)));
        }
        take(view, slices, name, state);
        const ids = view.endpoints.map(({ id }) => id).sort();
        expect(ids).toEqual(restated({ ...given, local, slices: objects, port: 'http' }));
      }
    }),
    { numRuns: 10_000, seed: 1 },
  );
}, 120_000);

/** Ports without a number take the Service's here, and none in kube-proxy: left out of the comparison. */
function withNumbers(object: SliceObject): SliceObject {
  const kept = object.ports?.filter((port) => port?.port !== null) ?? null;
  return kept === null || kept.length === 0
    ? { ...object, ports: [{ name: 'other', port: 1 }] }
    : { ...object, ports: kept };
}

test('a reshuffled slice that says the same yields the same array', () => {
  fc.assert(
    fc.property(slice, fc.infiniteStream(fc.nat()), (object, order) => {
      const view = new View({
        target: { protocol: 'http:', host: 'orders', port: 80 },
        location: { zone: undefined, node: undefined, hints: true },
        family: 'both',
      });
      const slices = new Map([['s1', readSlice(object, 's1', undefined)]]);
      const state = service(false, 4);
      take(view, slices, 's1', state);
      const { endpoints } = view;
      const shuffled = [...(object.endpoints ?? [])]
        .map((entry) => [order.next().value as number, entry] as const)
        .sort(([a], [b]) => a - b)
        .map(([, entry]) => entry);
      const addresses = shuffled.map((entry) => entry?.addresses?.[0]);
      fc.pre(new Set(addresses).size === addresses.length);
      const again = readSlice({ ...object, endpoints: shuffled }, 's1', slices.get('s1'));
      expect(again).toBe(slices.get('s1'));
      slices.set('s1', again);
      take(view, slices, 's1', state);
      expect(view.endpoints).toBe(endpoints);
    }),
    { numRuns: 2_000, seed: 2 },
  );
});

test('a readiness flip yields a new set with the same objects for all others', () => {
  const pods = (ready: boolean): SliceObject => ({
    addressType: 'IPv4',
    endpoints: [1, 2, 3].map((n) => ({
      addresses: [`10.0.0.${n}`],
      conditions: { ready: n !== 2 || ready },
      targetRef: { uid: `p${n}` },
    })),
    ports: [{ name: 'http', port: 8080 }],
  });
  const view = new View({
    target: { protocol: 'http:', host: 'orders', port: 80 },
    location: { zone: undefined, node: undefined, hints: true },
    family: 'both',
  });
  const slices = new Map<string, Slice>();
  const state = service(false, 4);
  const set = (ready: boolean): readonly Endpoint[] => {
    slices.set('s1', readSlice(pods(ready), 's1', slices.get('s1')));
    take(view, slices, 's1', state);
    return view.endpoints;
  };
  const [first, second, third] = set(true);
  const without = set(false);
  expect(without).toHaveLength(2);
  expect(without[0]).toBe(first);
  expect(without[1]).toBe(third);
  expect(set(true)[1]).toBe(second);
});
