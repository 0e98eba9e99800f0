import type { Random } from '../../core/clock.ts';
import { arrayOf, type Check, number, object, oneOf, type Shape, shape, string } from '../../core/options.ts';

/**
 * How long something takes, in ms, as plain data.
 *
 * - `bimodal`: a share `slowShare` (0.1) takes `slowTimes` (10) times as long as the rest.
 * - `pareto`: heavy tail of the given `shape` (1.5; the smaller the heavier, above 1); single values are cut at 1,000 means.
 * - `logNormal`: `sigma` (1) is the standard deviation of the logarithm.
 * - `trace`: measured values, taken in order and again from the start.
 */
export type Distribution =
  | { readonly kind: 'constant' | 'exponential'; readonly mean: number }
  | {
      readonly kind: 'bimodal';
      readonly mean: number;
      readonly slowShare?: number;
      readonly slowTimes?: number;
    }
  | { readonly kind: 'pareto'; readonly mean: number; readonly shape?: number }
  | { readonly kind: 'logNormal'; readonly mean: number; readonly sigma?: number }
  | { readonly kind: 'trace'; readonly values: readonly number[] };

/** A distribution that is ready to be drawn from. */
export interface Sampler {
  readonly mean: number;
  draw(): number;
}

const mean = number(1e-6, 1e9);

/** What each kind is told by. */
const kinds: Readonly<Record<string, Shape>> = {
  constant: { mean },
  exponential: { mean },
  bimodal: { mean, slowShare: number(0.0001, 0.9999), slowTimes: number(1, 1e6) },
  pareto: { mean, shape: number(1.01, 100) },
  logNormal: { mean, sigma: number(0, 5) },
  trace: { values: arrayOf(number(0, 1e9)) },
};

export const checkDistribution: Check = (value, name) => {
  object(value, name);
  const { kind, ...rest } = value as { kind?: unknown; mean?: unknown; values?: readonly number[] };
  if (kind === undefined) throw new TypeError(`option ${name}.kind is missing`);
  oneOf(...Object.keys(kinds))(kind, `${name}.kind`);
  shape({ kind: string, ...kinds[kind as string] })(value, name);
  if (kind !== 'trace' && rest.mean === undefined) throw new TypeError(`option ${name}.mean is missing`);
  if (kind === 'trace' && !rest.values?.some((time) => time > 0)) {
    throw new TypeError(`option ${name}.values must hold at least one value above 0`);
  }
};

/** What a Pareto variate is cut at, in means: one call of an hour would hide all the others. */
const paretoCut = 1_000;

export function sampler(distribution: Distribution, random: Random): Sampler {
  switch (distribution.kind) {
    case 'constant': {
      const { mean } = distribution;
      return { mean, draw: () => mean };
    }
    case 'exponential': {
      const { mean } = distribution;
      return { mean, draw: () => -mean * Math.log(1 - random()) };
    }
    case 'bimodal': {
      const { mean, slowShare = 0.1, slowTimes = 10 } = distribution;
      const fast = mean / (1 - slowShare + slowShare * slowTimes);
      return { mean, draw: () => (random() < slowShare ? fast * slowTimes : fast) };
    }
    case 'pareto': {
      const { mean, shape: alpha = 1.5 } = distribution;
      const least = (mean * (alpha - 1)) / alpha;
      const most = mean * paretoCut;
      // Not as a power, which versions of Node round differently.
      return { mean, draw: () => Math.min(most, least * Math.exp(-Math.log(1 - random()) / alpha)) };
    }
    case 'logNormal': {
      const { mean, sigma = 1 } = distribution;
      const mu = Math.log(mean) - (sigma * sigma) / 2;
      return { mean, draw: () => Math.exp(mu + sigma * normal(random)) };
    }
    case 'trace': {
      const { values } = distribution;
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      let next = 0;
      return {
        mean,
        draw: () => {
          const value = values[next] as number;
          next = next + 1 < values.length ? next + 1 : 0;
          return value;
        },
      };
    }
  }
}

/** A standard normal variate (Box and Muller, 1958). */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
