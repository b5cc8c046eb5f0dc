/**
 * Those who were overtaken, in the order in which they were: one at a time tries again, so that no two of them overtake each
 * other.
 *
 * Whoever began while the one in front runs may be a part of it, which that one waits for. It does not wait for its turn, so
 * nobody ever waits for himself: each waits only for what began later than he did.
 */
export class Line {
  #last = 0;
  /** When the one in front got its turn. */
  #front: number | undefined;
  readonly #waiting: (() => void)[] = [];

  /** Notes when somebody began. */
  begin(): number {
    return (this.#last += 1);
  }

  /** Runs something of somebody who began then, once it is its turn. */
  async turn<R>(began: number, run: () => Promise<R>): Promise<R> {
    if (this.#front !== undefined && began > this.#front) return await run();
    if (this.#front === undefined) this.#front = this.begin();
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await run();
    } finally {
      const next = this.#waiting.shift();
      // Handed over, so that nobody comes in between.
      this.#front = next && this.begin();
      next?.();
    }
  }
}
