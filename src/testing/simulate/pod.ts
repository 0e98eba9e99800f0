import type { Endpoint } from '../../core/endpoint.ts';
import type { Call } from './call.ts';
import type { World } from './world.ts';

/** How long a connection takes to be refused, in ms. */
const refusal = 0.2;

/** One server: so many workers, and a queue in front of them. */
export class Pod {
  readonly index: number;
  readonly endpoint: Endpoint;
  readonly #world: World;
  readonly #workers: number;
  /** The usual speed; `speed` is the one of the moment. */
  readonly usualSpeed: number;
  speed: number;
  gone = false;
  /** Calls that are on their way here. */
  coming = 0;
  stalledUntil = 0;
  failsUntil = 0;
  failLatency = 0;
  /** Attempts received, and how many an even spread over all live pods would have sent here. */
  received = 0;
  expected = 0;
  expectedBefore = 0;
  readonly #factors = new Set<{ readonly factor: number }>();
  readonly #running: Call[] = [];
  #waiting: Call[] = [];
  #head = 0;

  constructor(world: World, index: number, endpoint: Endpoint, workers: number, speed: number) {
    this.#world = world;
    this.index = index;
    this.endpoint = endpoint;
    this.#workers = workers;
    this.usualSpeed = speed;
    this.speed = speed;
  }

  /** Calls that run or wait here, or are on their way. */
  get load(): number {
    return this.coming + this.#running.length + this.#waiting.length - this.#head;
  }

  get stalled(): boolean {
    return this.#world.now < this.stalledUntil;
  }

  get failing(): boolean {
    return this.#world.now < this.failsUntil;
  }

  get idle(): boolean {
    return !this.gone && !this.stalled && !this.failing && this.#running.length < this.#workers;
  }

  receive(call: Call): void {
    this.coming--;
    if (this.gone) {
      call.fail(refusal, false);
    } else if (this.failing) {
      call.fail(this.failLatency, true);
    } else if (this.#running.length < this.#workers && !this.stalled) {
      this.#start(call);
    } else {
      this.#waiting.push(call);
    }
  }

  /** A call is done; the next one may start. */
  finish(call: Call): void {
    this.#leave(call);
    this.#startNext();
  }

  stall(duration: number): void {
    const until = this.#world.now + duration;
    const longer = until - Math.max(this.#world.now, this.stalledUntil);
    if (longer <= 0) return;
    this.stalledUntil = until;
    for (const call of this.#running) call.due += longer;
  }

  /** From now on it fails; or longer than it would have anyway. */
  failFast(duration: number, latency: number): void {
    this.failsUntil = Math.max(this.failsUntil, this.#world.now + duration);
    this.failLatency = latency;
  }

  /** Works at a multiple of its speed until the returned function is called. */
  changeSpeed(factor: number): () => void {
    const one = { factor };
    this.#factors.add(one);
    this.#setSpeed();
    return () => {
      this.#factors.delete(one);
      this.#setSpeed();
    };
  }

  #setSpeed(): void {
    this.speed = this.usualSpeed;
    for (const { factor } of this.#factors) this.speed *= factor;
  }

  /** After a stall. */
  wake(): void {
    for (let worker = this.#running.length; worker < this.#workers; worker++) this.#startNext();
  }

  /** Gone at once: everything here fails. */
  crash(): void {
    this.gone = true;
    const lost = [...this.#running, ...this.#waiting.slice(this.#head)];
    this.#running.length = 0;
    this.#waiting = [];
    this.#head = 0;
    for (const call of lost) call.fail(0, true);
  }

  #start(call: Call): void {
    call.slot = this.#running.length;
    this.#running.push(call);
    call.serve(call.demand / this.speed);
  }

  #startNext(): void {
    if (this.gone || this.stalled) return;
    const call = this.#waiting[this.#head];
    if (call === undefined) return;
    this.#head++;
    // What has been taken is dropped in bulk, so that a long queue costs nothing per call.
    if (this.#head > 64 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    this.#start(call);
  }

  #leave(call: Call): void {
    const last = this.#running.pop() as Call;
    if (last === call) return;
    this.#running[call.slot] = last;
    last.slot = call.slot;
  }
}
