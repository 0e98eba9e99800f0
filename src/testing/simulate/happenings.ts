import type { Pod } from './pod.ts';
import type { Happening } from './scenario.ts';
import type { World } from './world.ts';

const coldSpeed = 0.3;
const failLatency = 0.5;

/** Puts everything that is going to happen on the world's calendar. */
export function schedule(world: World, happenings: readonly Happening[]): void {
  for (const happening of happenings) {
    world.schedule(happening.at, { fire: () => happen(world, happening) });
  }
}

function happen(world: World, happening: Happening): void {
  const later = (delay: number, fire: () => void): void => world.schedule(world.now + delay, { fire });
  switch (happening.kind) {
    case 'stall':
      for (const pod of podsOf(world, happening.pods)) {
        pod.stall(happening.duration);
        later(happening.duration, () => {
          pod.wake();
          world.freed(pod);
        });
      }
      return;
    case 'failFast':
      for (const pod of podsOf(world, happening.pods)) {
        pod.failFast(happening.duration, happening.latency ?? failLatency);
        later(happening.duration, () => world.freed(pod));
      }
      return;
    case 'speed':
      for (const pod of podsOf(world, happening.pods))
        later(happening.duration, pod.changeSpeed(happening.speed));
      return;
    case 'join':
      for (let i = 0; i < happening.count; i++) join(world, happening);
      world.announce();
      return;
    case 'leave':
      for (const pod of podsOf(world, happening.pods)) leave(world, pod, happening.abrupt === true);
      world.announce();
      return;
    case 'rollingRestart':
      world.live.forEach((pod, i) => {
        later(happening.every * i, () => {
          join(world, happening);
          leave(world, pod, happening.abrupt === true);
          world.announce();
        });
      });
      return;
    case 'pause':
      for (const index of happening.clients) {
        if (index >= world.scenario.clients)
          throw new RangeError(
            `simulate: there is no client ${index}, the last is ${world.scenario.clients - 1}`,
          );
        // In a run of a reference there are none.
        world.clients[index]?.pause(happening.duration);
      }
  }
}

function podsOf(world: World, indexes: readonly number[]): Pod[] {
  return indexes.map((index) => {
    const pod = world.pods[index];
    if (pod === undefined) throw new RangeError(`simulate: there is no pod ${index} at ${world.now} ms`);
    return pod;
  });
}

function join(world: World, cold: { readonly coldFor?: number; readonly coldSpeed?: number }): void {
  const pod = world.addPod();
  if (cold.coldFor === undefined || cold.coldFor === 0) return;
  world.schedule(world.now + cold.coldFor, { fire: pod.changeSpeed(cold.coldSpeed ?? coldSpeed) });
}

function leave(world: World, pod: Pod, abrupt: boolean): void {
  world.removePod(pod);
  if (abrupt) pod.crash();
}
