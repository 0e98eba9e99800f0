import { hash32, mix32 } from '../core/hash.ts';

/** Points of an endpoint of weight 1: Ketama's number; the fullest backend gets 1.2–1.4 times the mean. */
const pointsPerUnit = 160;
/** Weights up to this count as they are; of others the largest gets 4 to 8 times the points of weight 1. */
const plainWeight = 16;
/** A ring has at most this many points, some 20 MB; beyond, everyone gets half, and half again. */
const mostPoints = 2 ** 21;
/** Points per slot of the index that a lookup starts from. */
const pointsPerSlot = 2;

/** What a ring is made of: who, and how much of it. */
export interface RingMember {
  readonly id: string;
  readonly weight: number;
}

/**
 * A consistent-hash ring (Karger et al., "Consistent Hashing and Random Trees", 1997). The points of a member
 * depend on its id alone, so a set maps keys alike in any order, and a change moves only the keys it must.
 */
export class Ring {
  /** Positions on the ring, ascending, and the member that owns each. */
  readonly hashes: Uint32Array;
  readonly owners: Uint32Array;
  readonly #index: Uint32Array;
  readonly #shift: number;

  constructor(hashes: Uint32Array, owners: Uint32Array) {
    this.hashes = hashes;
    this.owners = owners;
    const bits = Math.min(24, Math.max(1, Math.ceil(Math.log2(hashes.length / pointsPerSlot))));
    this.#shift = 32 - bits;
    this.#index = new Uint32Array(2 ** bits);
    const index = this.#index;
    const shift = this.#shift;
    let slot = 0;
    for (let point = 0; point < hashes.length; point++) {
      for (const end = (hashes[point] as number) >>> shift; slot <= end; slot++) index[slot] = point;
    }
    index.fill(hashes.length, slot);
  }

  /** The first point at or after a hash, in a circle. */
  find(hash: number): number {
    const { hashes } = this;
    let point = this.#index[hash >>> this.#shift] as number;
    while (point < hashes.length && (hashes[point] as number) < hash) point++;
    return point === hashes.length ? 0 : point;
  }
}

/** A ring, and what it was made of, so that the next one need not be made from nothing. */
export interface MadeRing {
  readonly ring: Ring;
  readonly members: readonly RingMember[];
  readonly counts: Uint32Array;
}

/**
 * The ring of a set; members of weight 0 own nothing unless all are. Points of members that a former ring has too are
 * taken from it, in one pass over both: the result is the same.
 */
export function ringOf(members: readonly RingMember[], former?: MadeRing): MadeRing {
  const counts = pointCounts(members);
  const now = new Map(members.map(({ id }, owner) => [id, owner]));
  /** The owner now of each former owner's points; -1 where they are dropped. */
  const heirs = new Int32Array(former?.members.length ?? 0).fill(-1);
  const fresh = new Set(members.keys());
  former?.members.forEach(({ id }, owner) => {
    const heir = now.get(id);
    if (heir === undefined || counts[heir] !== former.counts[owner] || !fresh.delete(heir)) return;
    heirs[owner] = heir;
  });
  let added = 0;
  for (const owner of fresh) added += counts[owner] as number;
  const hashes = new Uint32Array(added);
  const owners = new Uint32Array(added);
  let next = 0;
  for (const owner of fresh) {
    const { id } = members[owner] as RingMember;
    // A stride of its own keeps two members from ever sharing a run of points; odd, so that it never repeats.
    const stride = hash32(id, 1) | 1;
    const end = next + (counts[owner] as number);
    for (let hash = hash32(id); next < end; hash = (hash + stride) | 0) {
      hashes[next] = mix32(hash);
      owners[next++] = owner;
    }
  }
  const idOf = (owner: number): string => (members[owner] as RingMember).id;
  const sorted = sort({ hashes, owners }, idOf);
  const all = former === undefined ? sorted : merge(former.ring, heirs, sorted, idOf);
  return { ring: new Ring(all.hashes, all.owners), members, counts };
}

interface Points {
  readonly hashes: Uint32Array;
  readonly owners: Uint32Array;
}

function merge(old: Points, heirs: Int32Array, fresh: Points, idOf: (owner: number) => string): Points {
  const { hashes: oldHashes, owners: oldOwners } = old;
  const { hashes: newHashes, owners: newOwners } = fresh;
  let kept = 0;
  for (let point = 0; point < oldOwners.length; point++) if (heirs[oldOwners[point] as number] !== -1) kept++;
  const hashes = new Uint32Array(kept + newHashes.length);
  const owners = new Uint32Array(hashes.length);
  let next = 0;
  let added = 0;
  let waiting = newHashes.length === 0 ? Number.POSITIVE_INFINITY : (newHashes[0] as number);
  for (let point = 0; point < oldHashes.length; point++) {
    const owner = heirs[oldOwners[point] as number] as number;
    if (owner === -1) continue;
    const hash = oldHashes[point] as number;
    while (waiting <= hash) {
      if (waiting === hash && idOf(newOwners[added] as number) > idOf(owner)) break;
      hashes[next] = waiting;
      owners[next++] = newOwners[added++] as number;
      waiting = added < newHashes.length ? (newHashes[added] as number) : Number.POSITIVE_INFINITY;
    }
    hashes[next] = hash;
    owners[next++] = owner;
  }
  hashes.set(fresh.hashes.subarray(added), next);
  owners.set(fresh.owners.subarray(added), next);
  return { hashes, owners };
}

/**
 * Points in proportion to weight. What a weight of 1 counts for depends on the set as little as can be, because a
 * change of it moves keys between members that stay.
 */
function pointCounts(members: readonly RingMember[]): Uint32Array {
  let sum = 0;
  let most = 0;
  for (const { weight } of members) {
    sum += weight;
    most = Math.max(most, weight);
  }
  const counts = new Uint32Array(members.length);
  if (most === 0) return counts.fill(pointsPerUnit);
  let unit = most > plainWeight || most < 1 ? 2 ** (Math.floor(Math.log2(most)) - 2) : 1;
  while ((sum / unit) * pointsPerUnit > mostPoints) unit *= 2;
  members.forEach(({ weight }, i) => {
    if (weight > 0) counts[i] = Math.max(1, Math.round((pointsPerUnit * weight) / unit));
  });
  return counts;
}

/** Sorts the points by hash: three passes of a radix sort, stable; equal hashes by the owner's id. */
function sort({ hashes, owners }: Points, idOf: (owner: number) => string): Points {
  let [fromHashes, fromOwners]: [Uint32Array, Uint32Array] = [hashes, owners];
  let [toHashes, toOwners]: [Uint32Array, Uint32Array] = [
    new Uint32Array(hashes.length),
    new Uint32Array(hashes.length),
  ];
  for (const shift of [0, 11, 22]) {
    const starts = new Uint32Array(2_049);
    for (const hash of fromHashes) {
      const digit = ((hash >>> shift) & 2_047) + 1;
      starts[digit] = (starts[digit] as number) + 1;
    }
    for (let digit = 1; digit < 2_049; digit++)
      starts[digit] = (starts[digit] as number) + (starts[digit - 1] as number);
    for (let i = 0; i < fromHashes.length; i++) {
      const hash = fromHashes[i] as number;
      const digit = (hash >>> shift) & 2_047;
      const to = starts[digit] as number;
      starts[digit] = to + 1;
      toHashes[to] = hash;
      toOwners[to] = fromOwners[i] as number;
    }
    [fromHashes, toHashes] = [toHashes, fromHashes];
    [fromOwners, toOwners] = [toOwners, fromOwners];
  }
  for (let i = 1; i < fromHashes.length; i++) {
    for (let j = i; j > 0 && fromHashes[j] === fromHashes[j - 1]; j--) {
      const [a, b] = [fromOwners[j - 1] as number, fromOwners[j] as number];
      if (idOf(a) <= idOf(b)) break;
      fromOwners[j - 1] = b;
      fromOwners[j] = a;
    }
  }
  return { hashes: fromHashes, owners: fromOwners };
}
