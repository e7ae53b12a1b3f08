/** Clicks and forms remembered as answered; Slack redelivers within minutes, and the guard is idempotent anyway. */
const REMEMBERED = 10_000;

/**
 * Runs the work for a key once: a replay that comes meanwhile, or later, gets the first one's result. A result for
 * which `final` is false, and an error, are forgotten, so that the person can try again. Holds at most 10,000 keys.
 */
export class Once<Result> {
  readonly #results = new Map<string, Promise<Result>>();
  readonly #final: (result: Result) => boolean;

  constructor(final: (result: Result) => boolean) {
    this.#final = final;
  }

  /** `first` is false for a replay, which should then say nothing again. */
  run(
    key: string,
    work: () => Promise<Result>,
  ): { readonly first: boolean; readonly result: Promise<Result> } {
    const known = this.#results.get(key);
    if (known !== undefined) return { first: false, result: known };
    const result = work();
    this.#results.set(key, result);
    result.then(
      (value) => {
        if (!this.#final(value)) this.#results.delete(key);
      },
      () => this.#results.delete(key),
    );
    this.#trim();
    return { first: true, result };
  }

  #trim(): void {
    for (const key of this.#results.keys()) {
      if (this.#results.size <= REMEMBERED) return;
      this.#results.delete(key);
    }
  }
}
