/** One word of the command line. */
export interface Command {
  /** One line for the overview. */
  readonly summary: string;
  /** What `steersman <command> --help` prints. */
  readonly usage: string;
  /** Resolves to the exit code. */
  run(args: readonly string[]): Promise<number>;
}
