/** Something that happens at a time. */
export interface SimEvent {
  fire(): void;
}

/** Events by time, those of one time in the order they were pushed: a binary heap on flat arrays. */
export class EventQueue {
  #times = new Float64Array(1_024);
  #orders = new Float64Array(1_024);
  readonly #events: SimEvent[] = [];
  #size = 0;
  #order = 0;

  get size(): number {
    return this.#size;
  }

  push(time: number, event: SimEvent): void {
    if (this.#size === this.#times.length) this.#grow();
    const order = this.#order++;
    const times = this.#times;
    const orders = this.#orders;
    const events = this.#events;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((times[parent] as number) <= time) break;
      times[at] = times[parent] as number;
      orders[at] = orders[parent] as number;
      events[at] = events[parent] as SimEvent;
      at = parent;
    }
    times[at] = time;
    orders[at] = order;
    events[at] = event;
  }

  /** The time of the next event; Infinity when there is none. */
  get time(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#times[0] as number);
  }

  pop(): SimEvent | undefined {
    if (this.#size === 0) return undefined;
    const times = this.#times;
    const orders = this.#orders;
    const events = this.#events;
    const first = events[0] as SimEvent;
    const last = --this.#size;
    const time = times[last] as number;
    const order = orders[last] as number;
    const event = events[last] as SimEvent;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && before(times, orders, child + 1, child)) child++;
      const childTime = times[child] as number;
      if (childTime > time || (childTime === time && (orders[child] as number) > order)) break;
      times[at] = childTime;
      orders[at] = orders[child] as number;
      events[at] = events[child] as SimEvent;
      at = child;
    }
    times[at] = time;
    orders[at] = order;
    events[at] = event;
    return first;
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2);
    const orders = new Float64Array(this.#times.length * 2);
    times.set(this.#times);
    orders.set(this.#orders);
    this.#times = times;
    this.#orders = orders;
  }
}

function before(times: Float64Array, orders: Float64Array, a: number, b: number): boolean {
  const difference = (times[a] as number) - (times[b] as number);
  return difference < 0 || (difference === 0 && (orders[a] as number) < (orders[b] as number));
}
