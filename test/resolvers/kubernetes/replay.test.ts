import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { SliceObject } from '../../../src/resolvers/kubernetes/slice.ts';
import { endpointSlices, legacyEndpoints } from '../../../src/resolvers/kubernetes/slices-source.ts';
import { kubernetes, WatchError } from '../../../src/resolvers/kubernetes.ts';
import { seeded } from '../../../src/testing/index.ts';
import { transcript, transcriptInfo } from './fixtures.ts';
import { Listening } from './listening.ts';
import { restated } from './restatement.ts';
import { type Answer, type Asked, listOf, reply, ScriptedApi, status } from './scripted-api.ts';

/** Not what a watch ever asks for: other representations, compression, and parts of other APIs. */
const others =
  /gzip\b|-gzip$|pom|table|protobuf|^endpoints-get|^endpoints-over|^svc-missing-(endpoints|service)|^openapi|^version$|^page-bad|^err-/;

const folder = join(import.meta.dirname, '../../fixtures/kube/transcripts');
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.raw') || file.endsWith('.h2body'))
  .map((file) => file.replace(/\.(?:raw|h2body)$/, ''));

/** What was recorded over HTTP/2 is the body alone: it goes out with a head of HTTP/1.1, up to the end of the connection. */
function bytesOf(name: string): Buffer {
  if (!existsSync(join(folder, `${name}.h2body`))) return transcript(name);
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n';
  return Buffer.concat([Buffer.from(head), readFileSync(join(folder, `${name}.h2body`))]);
}

const closes = (name: string): boolean =>
  transcriptInfo(name).ended === 'socket closed' || existsSync(join(folder, `${name}.h2body`));

const replayed = names.filter((name) => !others.test(name) || name === 'list-small-gzip-asked');

let api: ScriptedApi | undefined;
let heard: Listening | undefined;

afterEach(async () => {
  await heard?.watch.close();
  await api?.close();
  heard = api = undefined;
});

interface Replay {
  readonly source: 'endpointslices' | 'endpoints';
  readonly service: string;
  readonly watch: boolean;
  readonly initial: boolean;
  readonly version: string | null;
}

function replayOf(name: string): Replay {
  const { request } = transcriptInfo(name);
  const url = new URL(request.path, 'http://api');
  const query = url.searchParams;
  const selected = /=(.+)$/.exec(query.get('labelSelector') ?? query.get('fieldSelector') ?? '')?.[1];
  return {
    source: url.pathname.endsWith('/endpoints') ? 'endpoints' : 'endpointslices',
    service: selected ?? 'small',
    watch: query.has('watch'),
    initial: query.has('sendInitialEvents'),
    version: query.get('resourceVersion'),
  };
}

/** The body of an answer: framing taken off. */
function bodyOf(bytes: Buffer): Buffer {
  const start = bytes.indexOf('\r\n\r\n') + 4;
  if (!/transfer-encoding: chunked/i.test(bytes.toString('latin1', 0, start))) return bytes.subarray(start);
  const parts: Buffer[] = [];
  for (let at = start; at < bytes.length; ) {
    const line = bytes.indexOf('\r\n', at);
    const length = Number.parseInt(bytes.toString('latin1', at, line), 16);
    parts.push(bytes.subarray(line + 2, line + 2 + length));
    at = line + 2 + length + 2;
  }
  return Buffer.concat(parts);
}

/** What the slices are in the end, by hand. */
function slicesAfter(name: string, { source, service, watch }: Replay): Map<string, SliceObject> {
  const body = bodyOf(bytesOf(name)).toString('utf8');
  const { read } = (source === 'endpoints' ? legacyEndpoints : endpointSlices)({
    namespace: 'demo',
    service,
  });
  const objects = new Map<string, unknown>();
  if (!watch) {
    const { items = [] } = JSON.parse(body) as { items?: { metadata: { name: string } }[] };
    for (const item of items) objects.set(item.metadata.name, item);
  } else {
    for (const line of body.split('\n').filter(Boolean)) {
      const { type, object } = JSON.parse(line) as { type: string; object: { metadata: { name?: string } } };
      if (type === 'ADDED' || type === 'MODIFIED') objects.set(object.metadata.name ?? '', object);
      if (type === 'DELETED') objects.delete(object.metadata.name ?? '');
    }
  }
  return new Map([...objects.values()].flatMap((object) => [...(read(object) ?? [])]));
}

/** Answers as the recorded server did, to the request it was recorded for. */
function script(name: string, replay: Replay): (asked: Asked) => Answer | undefined {
  const bytes = bytesOf(name);
  let given = false;
  return ({ resource, query }) => {
    if (resource === 'services') return reply(403, status(403, 'services is forbidden', 'Forbidden'));
    const initial = query.has('sendInitialEvents');
    const watch = query.has('watch');
    if (watch === replay.watch && initial === replay.initial && !given) {
      given = true;
      return { bytes, ...(closes(name) ? { after: 'end' as const } : {}) };
    }
    if (initial && !given) return reply(422, status(422, 'sendInitialEvents is forbidden', 'Invalid'));
    if (!watch && replay.watch !== given) return listOf(Number(replay.version) || 1, []);
    return undefined;
  };
}

const portNames = ['http', '', 'https'];

describe('a transcript of a real API server, cut anywhere, gives the right set', () => {
  test('is every one that holds a list or a watch', () => {
    expect(replayed.length).toBeGreaterThan(50);
  });

  test.each(replayed)('%s', async (name) => {
    const replay = replayOf(name);
    for (const seed of [1, 2, 3]) {
      api = await ScriptedApi.start(script(name, replay), seeded(seed));
      const slices = slicesAfter(name, replay);
      const port = portNames.find((candidate) =>
        [...slices.values()].some((slice) => slice.ports?.some((entry) => (entry?.name ?? '') === candidate)),
      );
      const situation = {
        slices,
        family: 'both',
        preferred: 4,
        zone: undefined,
        node: undefined,
        hints: true,
        local: false,
      } as const;
      const expected = port === undefined ? [] : restated({ ...situation, port });
      heard = new Listening(
        kubernetes({ kubeconfig: api.kubeconfig, source: replay.source, random: seeded(seed) }),
        `http://${replay.service}:8080`,
        port || undefined,
      );
      const listening = heard;
      const ids = (): string[] | undefined => listening.last?.map(({ id }) => id).sort();
      await listening.until(() => JSON.stringify(ids()) === JSON.stringify(expected));
      expect(listening.errors.filter((error) => error instanceof WatchError)).toEqual([]);
      await listening.watch.close();
      await api.close();
    }
  });
});
