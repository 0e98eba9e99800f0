import type { WriteStream } from 'node:tty';

const hideCursor = '\u001b[?25l';
const showCursor = '\u001b[?25h';
const clearBelow = '\u001b[J';
const up = (lines: number): string => `\u001b[${lines}A`;

/** Draws over what it drew before. */
export class Screen {
  readonly #out: WriteStream;
  #drawn = 0;

  constructor(out: WriteStream) {
    this.#out = out;
    out.write(hideCursor);
  }

  draw(lines: readonly string[]): void {
    // What does not fit would wrap or scroll, and the next frame would start in the wrong place.
    const shown = lines.slice(0, this.#out.rows - 1).map((line) => clip(line, this.#out.columns));
    const back = this.#drawn === 0 ? '' : up(this.#drawn);
    this.#out.write(`${back}\r${clearBelow}${shown.map((line) => `${line}\n`).join('')}`);
    this.#drawn = shown.length;
  }

  /** Clears what was drawn and gives the cursor back. */
  close(): void {
    this.draw([]);
    this.#out.write(showCursor);
  }
}

/** The first `width` columns of a line, styles not counted. */
function clip(line: string, width: number): string {
  let left = width;
  return line.replace(/(\u001b\[[\d;]*m)|./gu, (piece, style) => {
    if (style !== undefined) return piece;
    return left-- > 0 ? piece : '';
  });
}
