import { describe, it } from 'vitest';
import { poolTransport } from '../../src/client/pool.ts';
import { systemClock, systemRandom } from '../../src/core/clock.ts';
import { transportSuite } from '../../src/testing/transport-suite.ts';

const settings = { connectTimeout: 1_000, idleTimeout: 300_000, clock: systemClock, random: systemRandom };

describe('poolTransport', () => {
  transportSuite(() => poolTransport(settings), { describe, it });
});
