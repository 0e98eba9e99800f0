const newline = 10;

/** Cuts a stream of bytes into lines, wherever the reads happen to end, also inside a character. */
export class Lines {
  readonly #limit: number;
  #parts: Buffer[] = [];
  #held = 0;
  #chunk: Buffer | undefined;
  #at = 0;

  /** `limit`: bytes of the longest line that is accepted. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** To be called when `next` has returned undefined. */
  push(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** The next complete line that is not empty; undefined when more bytes are needed. Throws a `RangeError` beyond the limit. */
  next(): string | undefined {
    while (this.#chunk !== undefined) {
      const end = this.#chunk.indexOf(newline, this.#at);
      if (end === -1) {
        const rest = this.#chunk.subarray(this.#at);
        this.#chunk = undefined;
        this.#held += rest.length;
        if (this.#held > this.#limit) throw new RangeError(`a line of more than ${this.#limit} bytes`);
        if (rest.length > 0) this.#parts.push(rest);
        return undefined;
      }
      const start = this.#at;
      this.#at = end + 1;
      if (this.#held + end - start > this.#limit)
        throw new RangeError(`a line of more than ${this.#limit} bytes`);
      const line = this.#take(start, end);
      if (line.trim() !== '') return line;
    }
    return undefined;
  }

  /** What came after the last line end. */
  rest(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }

  #take(start: number, end: number): string {
    const chunk = this.#chunk as Buffer;
    if (this.#held === 0) return chunk.toString('utf8', start, end);
    this.#parts.push(chunk.subarray(start, end));
    const line = Buffer.concat(this.#parts).toString('utf8');
    this.#parts = [];
    this.#held = 0;
    return line;
  }
}
