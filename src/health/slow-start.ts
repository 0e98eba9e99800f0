/** A new endpoint's first share: Envoy's default floor. */
const floor = 0.1;

/** The share of its picks that an endpoint of this age takes: from 10 % to all of them, linear over `window` ms. */
export function slowStartShare(age: number, window: number): number {
  return age >= window ? 1 : Math.max(floor, age / window);
}
