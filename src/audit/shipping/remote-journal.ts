import type { MessagePort } from 'node:worker_threads';
import type { Segment } from '../journal/journal.ts';
import type { OpenStatements } from '../journal/open-statements.ts';
import { type FromShipper, type JournalState, type ToShipper, unflatten } from './shipping-messages.ts';

/** The journal as the shipping thread sees it: as far as it was told, on files that the other thread writes. */
export class RemoteJournal {
  readonly #port: MessagePort;
  readonly #calls = new Map<number, { readonly resolve: () => void; readonly reject: (e: Error) => void }>();
  #state: JournalState;
  #lastCall = 0;

  constructor(port: MessagePort, state: JournalState) {
    this.#port = port;
    this.#state = state;
  }

  get segments(): readonly Segment[] {
    return this.#state.segments;
  }

  get writtenSeq(): bigint {
    return this.#state.writtenSeq;
  }

  /** On disk up to here. */
  get syncedSeq(): bigint {
    return this.#state.syncedSeq;
  }

  /** Takes in what the other thread said about the journal. */
  receive(message: Extract<ToShipper, { state: JournalState }>): void {
    this.#state = message.state;
    if (message.kind !== 'reply') return;
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    if (message.failure === null) call?.resolve();
    else call?.reject(unflatten(message.failure));
  }

  /** Asks to be told when this entry is written. */
  want(seq: bigint): void {
    this.#post({ kind: 'want', seq });
  }

  /** Resolves when everything written so far is on disk, and known here. */
  sync(): Promise<void> {
    return this.#call((id) => ({ kind: 'sync', id }));
  }

  /** Gives back every segment before this one; `open`: the statements open after entry `seq`. */
  release(segment: number, seq: bigint, open: OpenStatements): Promise<void> {
    return this.#call((id) => ({ kind: 'release', id, segment, seq, open: open.list() }));
  }

  #call(message: (id: number) => FromShipper): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#lastCall += 1;
      this.#calls.set(this.#lastCall, { resolve, reject });
      this.#post(message(this.#lastCall));
    });
  }

  #post(message: FromShipper): void {
    this.#port.postMessage(message);
  }
}
