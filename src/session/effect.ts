/** What the core asks of the shell: executed strictly in order. */
import type { Asker, BoundParameter, Question } from '../approval/port.ts';
import type { Entry } from '../audit/entry.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import type { Safety } from './run.ts';
import type { Subject } from './subject.ts';

/** How a hold ended on its connection. */
export type HoldEnd = 'released' | 'denied' | 'expired' | 'withdrawn' | 'detached' | 'failed';

export type Effect =
  /** Send to Postgres. `safety` says how safe the records taken so far must be before a reply reaches the client. */
  | { readonly kind: 'forward'; readonly frame: Buffer; readonly safety: Safety }
  | { readonly kind: 'toClient'; readonly frame: Buffer }
  | { readonly kind: 'record'; readonly entry: Entry }
  /** Answered by `analysed`. */
  | {
      readonly kind: 'analyse';
      readonly sql: Buffer;
      readonly scope: NameScope;
      readonly catalogCertain: boolean;
    }
  /** Ask the server what the statements with a `doubt` are; answered by `clarified`. */
  | {
      readonly kind: 'clarify';
      /** What was answered before does not count: a person's time has passed since. */
      readonly fresh: boolean;
      readonly sql: Buffer;
      readonly scope: NameScope;
      readonly analysis: Analysis;
      readonly parameters: readonly BoundParameter[] | null;
    }
  /** Ask for slices of the budgets that these count for; answered by `sliced`. */
  | { readonly kind: 'budget'; readonly analysis: Analysis }
  /** Ask the server, on a side connection, whether it would reject this text; answered by `probed`. */
  | { readonly kind: 'probe'; readonly sql: Buffer; readonly scope: NameScope }
  /** Ask for the open requests of these; answered by `listed`. */
  | ({ readonly kind: 'list' } & Asker)
  /** Answered by `opened` or `openFailed`. The rest is for what people are told beside the question. */
  | {
      readonly kind: 'open';
      readonly question: Question;
      readonly subject: Subject;
      readonly scope: NameScope;
      /** Nothing that this session changed and did not commit, or that is not read yet, is hidden from others. */
      readonly catalogCertain: boolean;
    }
  /** Tell of changes of that request with `answered`. */
  | { readonly kind: 'watch'; readonly requestId: string }
  | { readonly kind: 'unwatch' }
  /** Commit what was recorded, verify and consume the receipt; answered by `released` or `releaseFailed`. */
  | { readonly kind: 'release'; readonly requestId: string; readonly question: Question }
  | { readonly kind: 'withdraw'; readonly requestId: string; readonly why: string }
  | { readonly kind: 'detach'; readonly requestId: string }
  | {
      readonly kind: 'end';
      readonly requestId: string;
      readonly outcome: 'executed' | 'failed' | 'unknown';
      readonly tag: string | null;
      readonly rows: number;
      readonly bytes: number;
      readonly sqlstate: string | null;
    }
  | { readonly kind: 'startTimers'; readonly holdMs: number; readonly noticeMs: number }
  /** Of a hold, if there was one. */
  | { readonly kind: 'stopTimers'; readonly end: HoldEnd }
  /** Read nothing more from upstream; what was read behind the frame in question is kept. */
  | { readonly kind: 'pauseUpstream' }
  /** Go on with the frame in question. */
  | { readonly kind: 'resumeUpstream' }
  /** Send a CancelRequest upstream on its own connection; answered by `cancelDone`. */
  | { readonly kind: 'cancelUpstream' }
  /** Nothing more goes upstream: the server ends the session when it has answered what it has. */
  | { readonly kind: 'endUpstream' }
  /** Read the catalog again; answered by `refreshed`. */
  | { readonly kind: 'refreshCatalog' }
  /** Send `error` (if any), then end both sockets. */
  | { readonly kind: 'close'; readonly error: Buffer | null; readonly why: string };
