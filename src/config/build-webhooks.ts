import type { WebhookConfig } from './config.ts';
import type { Path } from './document.ts';
import type { Reader } from './reader.ts';
import type { ConfigShape } from './schema.ts';

/** Reads each webhook's address and secrets; what is wrong is told to the reader, without quoting it. */
export function buildWebhooks(reader: Reader, shapes: ConfigShape['webhooks']): Promise<WebhookConfig[]> {
  return Promise.all(
    shapes.map(async ({ name, url, secret, events, include }, index) => {
      const path: Path = ['webhooks', index];
      const text = typeof url === 'string' ? url : await reader.secret([...path, 'url'], url);
      if (text !== '') checkUrl(reader, [...path, 'url'], text);
      const given = Array.isArray(secret) ? secret : [secret];
      const secrets = await Promise.all(given.map((one) => reader.secret([...path, 'secret'], one)));
      if (secrets.some((one) => one !== '' && !SECRET.test(one)))
        reader.fail(
          'config_invalid_value',
          [...path, 'secret'],
          'expected whsec_ and base64 of 24 to 64 bytes, as "countersign webhooks secret" prints it',
        );
      return { name, url: text, secrets, events, include };
    }),
  );
}

/** 24 to 64 bytes in base64 (RFC 4648, section 4). */
const SECRET = /^whsec_(?=.{32,88}$)(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function checkUrl(reader: Reader, path: Path, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : null;
  const here = ['127.0.0.1', '[::1]', 'localhost'].includes(url?.hostname ?? '');
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && here)))
    reader.fail('config_invalid_value', path, 'expected an https URL, or http on this machine');
  else if (url.username !== '' || url.password !== '')
    reader.fail(
      'config_literal_secret',
      path,
      'the URL has a user or password in it; messages are signed instead',
    );
}
