/** Something that ends when a signal aborts. */
export interface Follower {
  signalled(reason: unknown): void;
}

/**
 * Who follows which signal. One listener serves all calls that share a signal: an app may well hand the same one to
 * thousands, and Node warns of the eleventh listener.
 */
const followed = new WeakMap<AbortSignal, Set<Follower>>();

function onAbort(this: AbortSignal): void {
  const followers = followed.get(this);
  if (followers === undefined) return;
  followed.delete(this);
  for (const follower of followers) follower.signalled(this.reason);
}

export function follow(signal: AbortSignal, follower: Follower): void {
  const followers = followed.get(signal);
  if (followers !== undefined) {
    followers.add(follower);
    return;
  }
  followed.set(signal, new Set([follower]));
  signal.addEventListener('abort', onAbort, { once: true });
}

export function unfollow(signal: AbortSignal, follower: Follower): void {
  const followers = followed.get(signal);
  if (followers === undefined || !followers.delete(follower) || followers.size > 0) return;
  followed.delete(signal);
  signal.removeEventListener('abort', onAbort);
}
