import type { Stack } from '../support/stack.ts';

/** A person on the approval page, without a browser: signed in by a one-time link, sending the page's own forms. */
export class Visitor {
  readonly #url: string;
  readonly #cookie: string;
  readonly #csrf: string;

  private constructor(url: string, cookie: string, csrf: string) {
    this.#url = url;
    this.#cookie = cookie;
    this.#csrf = csrf;
  }

  /** `issuer`: the process that makes the link, if another one. */
  static async signIn(at: Stack, person: string, issuer = at): Promise<Visitor> {
    const { search } = new URL(await issuer.running.signInLink(person));
    const signedIn = await fetch(`${at.httpUrl}/sign-in${search}`);
    const cookie = (signedIn.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    const page = await (await fetch(`${at.httpUrl}/`, { headers: { cookie } })).text();
    const csrf = /name="csrf" value="([0-9a-f]{64})"/.exec(page)?.[1];
    if (csrf === undefined) throw new Error(`${person} could not sign in`);
    return new Visitor(at.httpUrl, cookie, csrf);
  }

  /** The status of what the form answers; 303: the verdict was taken. */
  async answer(id: string, verdict: 'approve' | 'deny', reason: string): Promise<number> {
    const response = await fetch(`${this.#url}/requests/${id}/verdict`, {
      method: 'POST',
      redirect: 'manual',
      headers: {
        cookie: this.#cookie,
        origin: this.#url,
        'sec-fetch-site': 'same-origin',
        'content-type': 'application/x-www-form-urlencoded',
      },
      body: new URLSearchParams({ csrf: this.#csrf, verdict, reason }).toString(),
    });
    await response.text();
    return response.status;
  }
}
