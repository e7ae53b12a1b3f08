import type { Hono } from 'hono';
import { type HttpWorld, PUBLIC_URL } from '../api/support.ts';

export type Browser = {
  readonly get: (path: string) => Promise<Response>;
  /** Sends a form as a page of ours would; `changes` replaces headers, null removes one. */
  readonly post: (
    path: string,
    form: Record<string, string>,
    changes?: Record<string, string | null>,
  ) => Promise<Response>;
  /** The form token of this session, as the pages carry it. */
  readonly csrf: string;
  readonly cookie: string;
};

/** Signs this person in by a one-time link. */
export async function signIn({ app, sessions }: HttpWorld, person: string): Promise<Browser> {
  const token = await sessions.issueLink(person);
  const response = await app.request(`/sign-in?token=${token}`);
  const cookie = (response.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const page = await (await app.request('/', { headers: { cookie } })).text();
  const csrf = /name="csrf" value="([0-9a-f]{64})"/.exec(page)?.[1] ?? '';
  return browser(app, cookie, csrf);
}

export function browser(app: Hono, cookie: string, csrf: string): Browser {
  return {
    cookie,
    csrf,
    get: async (path) => app.request(path, { headers: { cookie } }),
    post: async (path, form, changes = {}) => {
      const headers = new Headers({
        cookie,
        origin: PUBLIC_URL,
        'sec-fetch-site': 'same-origin',
        'content-type': 'application/x-www-form-urlencoded',
      });
      for (const [name, value] of Object.entries(changes)) {
        if (value === null) headers.delete(name);
        else headers.set(name, value);
      }
      return app.request(path, { method: 'POST', headers, body: new URLSearchParams(form).toString() });
    },
  };
}
