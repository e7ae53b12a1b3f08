import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type pg from 'pg';
import { type PasskeyChallenges, passkeyChallenges } from './challenges.ts';

/** Milliseconds. A link is for one use, soon; a session is for one day's work. */
const LINK_MS = 8 * 60 * 60_000;
const SESSION_MS = 8 * 60 * 60_000;

export type ConsoleSession = {
  /** Id in the configuration. */
  readonly person: string;
  /** A session is no passkey: whatever a row says, 2 at most. */
  readonly assurance: 1 | 2;
};

/** Who is signed in to the console. Only hashes of tokens are stored; any process of the installation knows them. */
export type ConsoleSessions = {
  /** A token for one sign-in as this person, 256 random bits, base64url. Whoever has it is that person. */
  readonly issueLink: (person: string) => Promise<string>;
  /** Uses up a link's token, once, and gives a session's. Null: unknown, used, or too old. */
  readonly exchange: (linkToken: string) => Promise<string | null>;
  readonly find: (sessionToken: string) => Promise<ConsoleSession | null>;
  readonly end: (sessionToken: string) => Promise<void>;
  readonly challenges: PasskeyChallenges;
};

/** `pool` is the approval store's: the table is `countersign.console_session`. */
export function consoleSessions(pool: pg.Pool): ConsoleSessions {
  const insert = async (kind: 'link' | 'session', session: ConsoleSession, lifetimeMs: number) => {
    const token = randomBytes(32).toString('base64url');
    await pool.query(
      `INSERT INTO countersign.console_session (token_sha256, kind, person, assurance, expires_at)
       VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))`,
      [sha256(token), kind, session.person, session.assurance, lifetimeMs / 1000],
    );
    return token;
  };
  return {
    challenges: passkeyChallenges(pool),
    issueLink: (person) => insert('link', { person, assurance: 1 }, LINK_MS),
    exchange: async (linkToken) => {
      // DELETE … RETURNING: of two uses at once, one gets the row.
      const { rows } = await pool.query<ConsoleSession>(
        `DELETE FROM countersign.console_session
         WHERE token_sha256 = $1 AND kind = 'link' AND expires_at > clock_timestamp() RETURNING person, least(assurance, 2) AS assurance`,
        [sha256(linkToken)],
      );
      return rows[0] === undefined ? null : insert('session', rows[0], SESSION_MS);
    },
    find: async (sessionToken) => {
      const { rows } = await pool.query<ConsoleSession>(
        `SELECT person, least(assurance, 2) AS assurance FROM countersign.console_session
         WHERE token_sha256 = $1 AND kind = 'session' AND expires_at > clock_timestamp()`,
        [sha256(sessionToken)],
      );
      return rows[0] ?? null;
    },
    end: async (sessionToken) => {
      await pool.query('DELETE FROM countersign.console_session WHERE token_sha256 = $1', [
        sha256(sessionToken),
      ]);
    },
  };
}

/** The token that a form of this session carries; another site cannot know it. */
export function formToken(sessionToken: string): string {
  return createHmac('sha256', sessionToken).update('countersign console form').digest('hex');
}

export function isFormToken(sessionToken: string, presented: string): boolean {
  const wanted = Buffer.from(formToken(sessionToken));
  const given = Buffer.from(presented);
  return wanted.length === given.length && timingSafeEqual(wanted, given);
}

function sha256(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
