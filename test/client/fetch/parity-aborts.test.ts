import { EventEmitter, once } from 'node:events';
import { describe } from 'vitest';
import { outcome, seen, seenError } from './support/observe.ts';
import { type Case, compare } from './support/parity.ts';
import { httpServer, Notes, type Route } from './support/servers.ts';

/** Tells when a request has reached a point, and when its connection has gone. */
const happened = new EventEmitter();

const routes: Record<string, Route> = {
  '/never': (request, response) => {
    response.on('close', () => happened.emit('closed'));
    happened.emit('arrived', request.url);
  },
  '/uncounted': () => {
    happened.emit('arrived uncounted');
  },
  '/headers-only': (_, response) => {
    response.on('close', () => happened.emit('closed'));
    response.flushHeaders();
  },
  '/half': (_, response) => {
    response.on('close', () => happened.emit('closed'));
    response.write('half');
  },
  '/half-then-cut': (_, response) => {
    response.write('half');
    setImmediate(() => response.destroy());
  },
  '/gzip-half': (_, response) => {
    response.setHeader('content-encoding', 'gzip');
    response.on('close', () => happened.emit('closed'));
    response.flushHeaders();
  },
  '/whole': (_, response) => {
    response.end('whole');
  },
  '/redirect': (_, response) => {
    response.writeHead(302, { location: '/never' }).end();
  },
};

const start = async () => {
  const notes = new Notes();
  const { server, port } = await httpServer(notes, routes);
  return { notes, server, port };
};

const thrown = new RangeError('not wanted any more');

const aborted =
  (
    reason: unknown[],
    when: (abort: () => void) => void,
    path: string,
    init: () => RequestInit = () => ({}),
  ): Case =>
  async (fetch, base) => {
    const controller = new AbortController();
    const closed = once(happened, 'closed');
    when(() => controller.abort(...(reason as [unknown])));
    try {
      const response = await fetch(`${base}${path}`, { ...init(), signal: controller.signal });
      return seen(response);
    } catch (error) {
      const result = { error: seenError(error), same: error === controller.signal.reason };
      await closed;
      return result;
    }
  };

/** Aborts once the response is here. */
const abortedLater =
  (reason: unknown[], path: string, how: (response: Response, abort: () => void) => unknown): Case =>
  async (fetch, base) => {
    const controller = new AbortController();
    const closed = path === '/whole' ? undefined : once(happened, 'closed');
    const response = await fetch(`${base}${path}`, { signal: controller.signal });
    const result = await outcome(() => how(response, () => controller.abort(...(reason as [unknown]))));
    await closed;
    return { result, used: response.bodyUsed, again: await outcome(() => response.text()) };
  };

const onArrival = (abort: () => void): void => {
  happened.once('arrived', abort);
};

const cases: Record<string, Case> = {};
const reasons: Record<string, unknown[]> = {
  'without a reason': [],
  'with an error': [thrown],
  'with a string': ['because'],
  'with null': [null],
  'with an AbortError of one’s own': [new DOMException('mine', 'AbortError')],
};
for (const [name, reason] of Object.entries(reasons)) {
  cases[`before the call ${name}`] = async (fetch, base) => {
    const signal = AbortSignal.abort(...(reason as [unknown]));
    try {
      return await fetch(base, { signal });
    } catch (error) {
      return { error: seenError(error), same: error === signal.reason };
    }
  };
  cases[`while the server thinks ${name}`] = aborted(reason, onArrival, '/never');
  cases[`while the server thinks about a POST ${name}`] = aborted(reason, onArrival, '/never', () => ({
    method: 'POST',
    body: 'text',
  }));
  cases[`after a redirect ${name}`] = aborted(reason, onArrival, '/redirect');
  cases[`before the body ${name}`] = abortedLater(reason, '/headers-only', (response, abort) => {
    abort();
    return response.text();
  });
  cases[`in the body ${name}`] = abortedLater(reason, '/half', async (response, abort) => {
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    const first = await reader.read();
    abort();
    return [Buffer.from(first.value as Uint8Array).toString(), await outcome(() => reader.read())];
  });
  cases[`while the body is awaited ${name}`] = abortedLater(reason, '/half', async (response, abort) => {
    const text = response.text();
    setImmediate(abort);
    return text;
  });
  cases[`while a compressed body is awaited ${name}`] = abortedLater(
    reason,
    '/gzip-half',
    async (response, abort) => {
      const text = response.text();
      setImmediate(abort);
      return text;
    },
  );
  cases[`with a clone in hand ${name}`] = abortedLater(reason, '/half', async (response, abort) => {
    const copy = response.clone();
    const texts = Promise.all([outcome(() => response.text()), outcome(() => copy.text())]);
    setImmediate(abort);
    return texts;
  });
  cases[`before the body has a reader ${name}`] = abortedLater(reason, '/whole', (response, abort) => {
    abort();
    return response.body?.getReader().closed;
  });
  cases[`before the end of the body ${name}`] = abortedLater(reason, '/whole', async (response, abort) => {
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    await reader.read();
    abort();
    return [await outcome(() => reader.read()), await outcome(() => reader.closed)];
  });
  cases[`after the body ${name}`] = abortedLater(reason, '/whole', async (response, abort) => {
    const text = await response.text();
    abort();
    return text;
  });
}
Object.assign(cases, {
  'in the same turn': async (fetch, base) => {
    const controller = new AbortController();
    const pending = fetch(`${base}/uncounted`, { signal: controller.signal });
    controller.abort();
    return pending;
  },
  'in the next microtask': async (fetch, base) => {
    const controller = new AbortController();
    const pending = fetch(`${base}/uncounted`, { signal: controller.signal });
    queueMicrotask(() => controller.abort());
    return pending;
  },
  'by a timeout': (fetch, base) => fetch(`${base}/never`, { signal: AbortSignal.timeout(300) }),
  'by a timeout in the body': async (fetch, base) => {
    const response = await fetch(`${base}/half`, { signal: AbortSignal.timeout(300) });
    return outcome(() => response.text());
  },
  'by any of two': (fetch, base) => {
    const controller = new AbortController();
    happened.once('arrived', () => controller.abort(thrown));
    return fetch(`${base}/never`, {
      signal: AbortSignal.any([new AbortController().signal, controller.signal]),
    });
  },
  'by the signal of a Request': (fetch, base) => {
    const controller = new AbortController();
    happened.once('arrived', () => controller.abort(thrown));
    return fetch(new Request(`${base}/never`, { signal: controller.signal }));
  },
  'by the signal of a Request already aborted': (fetch, base) =>
    fetch(new Request(`${base}/never`, { signal: AbortSignal.abort(thrown) })),
  'by the init’s signal over the Request’s': (fetch, base) => {
    const controller = new AbortController();
    happened.once('arrived', () => controller.abort(thrown));
    return fetch(new Request(`${base}/never`, { signal: new AbortController().signal }), {
      signal: controller.signal,
    });
  },
  'of many calls by one signal': async (fetch, base) => {
    const warnings: string[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', onWarning);
    const controller = new AbortController();
    const pending = Array.from({ length: 30 }, () =>
      outcome(() => fetch(`${base}/uncounted`, { signal: controller.signal })),
    );
    await once(happened, 'arrived uncounted');
    controller.abort(thrown);
    const results = await Promise.all(pending);
    await new Promise(setImmediate);
    process.off('warning', onWarning);
    return { results, warnings };
  },
  'ends a request body': async (fetch, base) => {
    const controller = new AbortController();
    let pulled = 0;
    let cancelled: unknown = 'no';
    const body = new ReadableStream({
      pull(stream) {
        if (pulled++ === 0) stream.enqueue(Buffer.from('first'));
        else controller.abort(thrown);
      },
      cancel: (reason) => {
        cancelled = seenError(reason);
      },
    });
    const init = { method: 'POST', body, duplex: 'half', signal: controller.signal } as RequestInit;
    const result = await outcome(() => fetch(`${base}/uncounted`, init));
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    return { result, cancelled, locked: body.locked };
  },
  'before the call cancels a request body': async (fetch, base) => {
    let cancelled: unknown;
    const body = new ReadableStream({ cancel: (reason) => void (cancelled = seenError(reason)) });
    const init = { method: 'POST', body, duplex: 'half', signal: AbortSignal.abort(thrown) } as RequestInit;
    return [await outcome(() => fetch(`${base}/never`, init)), cancelled];
  },
  'comes before what is wrong with the request': (fetch, base) =>
    fetch(base, { signal: AbortSignal.abort(thrown), method: 'A B' }),
  'is not needed when the server cuts the body': async (fetch, base) => {
    const response = await fetch(`${base}/half-then-cut`);
    return [await outcome(() => response.text()), await outcome(() => response.text()), response.bodyUsed];
  },
  'is not needed when the server cuts the body as it is read': async (fetch, base) => {
    const response = await fetch(`${base}/half-then-cut`);
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    const first = await reader.read();
    return [
      Buffer.from(first.value as Uint8Array).toString(),
      await outcome(() => reader.read()),
      await outcome(() => reader.closed),
    ];
  },
  'of an answered call changes nothing': async (fetch, base) => {
    const controller = new AbortController();
    const response = await fetch(`${base}/whole`, { signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort(thrown);
    return outcome(() => response.text());
  },
} satisfies Record<string, Case>);

describe('an abort has the platform’s effects', () => {
  // Node 22 forgets the reason once the headers are there.
  compare(cases, start, { not22: /^before the (?:end of the )?body|^of an answered call/ });
});
