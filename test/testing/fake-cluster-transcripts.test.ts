import { describe, expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { FakeCluster } from '../../src/testing/fake-cluster.ts';
import {
  askRaw,
  eventually,
  parseAnswer,
  type RawAnswer,
  recorded,
  slicesIn,
} from './fake-cluster-client.ts';

interface Case {
  readonly transcript: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: string;
  readonly body?: string;
  /** How the server is prepared. */
  readonly given?: (cluster: FakeCluster) => void;
  /** ms the server takes */
  readonly after?: number;
  readonly token?: 'none' | 'wrong';
}

const slices = slicesIn('demo');
const future = 'resourceVersion=99999999';
const reader = [
  {
    apiGroups: ['', 'discovery.k8s.io'],
    resources: ['endpointslices', 'endpoints', 'services'],
    verbs: ['get', 'list', 'watch'],
    namespaces: ['demo'],
  },
];
const asReader = (cluster: FakeCluster): void => {
  cluster.api.rules = reader;
};
const asNobody = (cluster: FakeCluster): void => {
  cluster.api.rules = [];
};
const throttled = (cluster: FakeCluster): void => cluster.api.fail({ status: 429 });
const forgetful = (cluster: FakeCluster): void => cluster.api.expire();
const page = Buffer.from('{"v":"meta.k8s.io/v1","rv":1000,"start":"/web-d7d4b\\u0000"}').toString(
  'base64url',
);

const cases: readonly Case[] = [
  { transcript: 'err-400-bad-rv', path: `${slices}?resourceVersion=abc` },
  { transcript: 'err-400-bad-selector', path: `${slices}?labelSelector=a%20b%20c` },
  { transcript: 'err-401-bad-token', path: slices, token: 'wrong' },
  { transcript: 'err-401-bad-token-watch', path: `${slices}?watch=1`, token: 'wrong' },
  { transcript: 'err-403-anonymous', path: slices, token: 'none' },
  { transcript: 'err-403-cluster-wide', path: '/apis/discovery.k8s.io/v1/endpointslices', given: asReader },
  { transcript: 'err-403-no-role', path: slices, given: asNobody },
  { transcript: 'err-403-watch', path: `${slices}?watch=1&resourceVersion=0`, given: asNobody },
  { transcript: 'err-404-group', path: '/apis/discovery.k8s.io/v1beta1/namespaces/demo/endpointslices' },
  { transcript: 'err-405', path: slices, method: 'PUT', body: '{}' },
  {
    transcript: 'err-415-post',
    path: slices,
    method: 'POST',
    headers: 'Content-Type: text/plain',
    body: '{}',
  },
  { transcript: 'err-422-sendinitial-no-match', path: `${slices}?watch=1&sendInitialEvents=true` },
  { transcript: 'err-429-list', path: slices, given: throttled },
  { transcript: 'err-429-watch', path: `${slices}?watch=1`, given: throttled },
  { transcript: 'err-rv-future', path: `${slices}?${future}`, after: 3_000 },
  { transcript: 'err-watch-bad-rv', path: `${slices}?watch=1&resourceVersion=abc` },
  {
    transcript: 'err-watchlist-rv-future',
    path: `${slices}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&${future}`,
    after: 3_000,
  },
  { transcript: 'err-watch-rv-future', path: `${slices}?watch=1&${future}&timeoutSeconds=3`, after: 3_000 },
  { transcript: 'watch-410-rv1', path: `${slices}?watch=1&resourceVersion=1` },
  { transcript: 'watch-timeout-clean-end', path: `${slices}?watch=1&timeoutSeconds=3`, after: 3_000 },
  {
    transcript: 'watchlist-empty',
    path: `${slices}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=4`,
    after: 4_000,
  },
  { transcript: 'svc-missing-endpoints-get', path: '/api/v1/namespaces/demo/endpoints/nosuch' },
  { transcript: 'svc-missing-service-get', path: '/api/v1/namespaces/demo/services/nosuch' },
  { transcript: 'ns-missing-list', path: slicesIn('nosuch') },
  {
    transcript: 'list-410-exact',
    path: `${slices}?resourceVersion=1000&resourceVersionMatch=Exact`,
    given: forgetful,
  },
  { transcript: 'list-410-continue-expired', path: `${slices}?limit=2&continue=${page}`, given: forgetful },
  { transcript: 'page-bad-continue', path: `${slices}?limit=2&continue=garbage` },
  { transcript: 'list-small-protobuf-not-acceptable', path: slices, headers: 'Accept: text/html' },
];

/** What must be equal: everything but names, numbers and moments that no two servers share. */
function comparable({ status, headers, body, chunks, complete }: RawAnswer): unknown {
  const kept = [...headers]
    .filter(([name]) => !['date', 'audit-id', 'content-length', 'connection', 'keep-alive'].includes(name))
    .map(([name, value]) => [name, name.endsWith('-uid') ? '' : value]);
  return {
    status,
    headers: Object.fromEntries(kept),
    lines: body.trimEnd() === '' ? [] : documents(body, chunks !== undefined).map(neutral),
    chunked: chunks !== undefined,
    complete,
  };
}

function documents(body: string, stream: boolean): unknown[] {
  if (!body.startsWith('{')) return [body];
  return stream
    ? body
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [JSON.parse(body)];
}

const neutral = (document: unknown): unknown =>
  JSON.parse(
    JSON.stringify(document)
      .replace(/User \\"[^"]*\\"/g, 'User')
      .replace(/"resourceVersion":"\d+"/g, '"resourceVersion":"N"')
      .replace(/(too old resource version:) \d+ \(\d+\)/, '$1 N (N)')
      .replace(/(current:) \d+/, '$1 N')
      .replace(/"continue":"[^"]*"/, '"continue":"…"')
      .replace(/((?:media types include|Available representations):)[^"]*/, '$1 …'),
  );

describe('the API server answers as kube-apiserver v1.36.2 was recorded to', () => {
  test.each(cases)(
    '$transcript',
    async ({ transcript, path, method = 'GET', given, after, token, ...more }) => {
      const clock = new FakeClock();
      await using cluster = await FakeCluster.start({ namespace: 'demo', clock });
      given?.(cluster);
      const authorization = token === 'none' ? '' : `Authorization: Bearer ${token ?? cluster.token}\r\n`;
      const accept = more.headers?.startsWith('Accept') ? '' : 'Accept: application/json\r\n';
      const body = more.body ?? '';
      const answer = askRaw(
        cluster,
        `${method} ${path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n${accept}${authorization}${more.headers ? `${more.headers}\r\n` : ''}Content-Length: ${body.length}\r\n\r\n${body}`,
      );
      if (after !== undefined) {
        await eventually(() => clock.pending).toBeGreaterThan(0);
        await clock.advance(after);
      }
      const { bytes, error } = await answer;
      expect(error).toBeUndefined();
      expect(comparable(parseAnswer(bytes))).toEqual(comparable(recorded(transcript)));
      expect(clock.pending).toBe(0);
    },
  );
});
