import type { ApprovalDesk } from '../../approval/guard.ts';
import type { Group, Person, SlackConfig } from '../../config/config.ts';

/** The part of pino's logger that is used here. */
export type Log = {
  readonly debug: (fields: object, message: string) => void;
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  readonly error: (fields: object, message: string) => void;
};

/** What the Slack channel is started with. */
export type SlackSetup = {
  readonly config: SlackConfig;
  readonly desk: ApprovalDesk;
  /** Only to call people to a card; who may answer is the guard's business. */
  readonly people: readonly Person[];
  readonly groups: readonly Group[];
  readonly log: Log;
};
