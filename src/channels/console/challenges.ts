import { createHash, randomBytes } from 'node:crypto';
import type pg from 'pg';

/** Milliseconds: the ceremony's own time, and a look at the page. */
const CHALLENGE_MS = 5 * 60_000;

/** What browsers were asked to sign while they make a passkey. Only hashes are stored; any process knows them. */
export type PasskeyChallenges = {
  /** 32 random bytes for this session; what it was given before is not good any more. */
  readonly issue: (sessionToken: string) => Promise<Uint8Array>;
  /** Uses it up: true once, in the session that it was given to, in time. `challenge` is base64url, attacker-controlled. */
  readonly use: (sessionToken: string, challenge: string) => Promise<boolean>;
};

/** `pool` is the approval store's: the table is `countersign.passkey_challenge`. */
export function passkeyChallenges(pool: pg.Pool): PasskeyChallenges {
  return {
    issue: async (sessionToken) => {
      const challenge = randomBytes(32);
      await pool.query(
        `WITH old AS (DELETE FROM countersign.passkey_challenge
           WHERE session_sha256 = $2 OR expires_at <= clock_timestamp())
         INSERT INTO countersign.passkey_challenge (challenge_sha256, session_sha256, expires_at)
         VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))`,
        [sha256(challenge), sha256(sessionToken), CHALLENGE_MS / 1000],
      );
      return new Uint8Array(challenge);
    },
    use: async (sessionToken, challenge) => {
      const { rowCount } = await pool.query(
        `DELETE FROM countersign.passkey_challenge
         WHERE challenge_sha256 = $1 AND session_sha256 = $2 AND expires_at > clock_timestamp()`,
        [sha256(Buffer.from(challenge, 'base64url')), sha256(sessionToken)],
      );
      return rowCount === 1;
    },
  };
}

function sha256(value: string | Uint8Array): Buffer {
  return createHash('sha256').update(value).digest();
}
