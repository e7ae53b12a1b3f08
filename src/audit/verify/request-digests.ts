import type { Finding } from './finding.ts';

/** The digest that a row names for a request: the row of its opening, or one with a receipt. Attacker-controlled. */
export type RequestDigest = {
  readonly stream: string;
  readonly seq: bigint;
  readonly by: 'opening' | 'receipt';
  readonly request: string | null;
  readonly digest: string | null;
};

/**
 * A digest is one request's: that with which it was opened. So nothing that was signed for a request, with whatever key,
 * counts for another. SQL's `verify_digests` says the same.
 */
export function checkDigests(named: readonly RequestDigest[]): readonly Finding[] {
  const ofRequest = new Map<string, Set<string>>();
  const ofDigest = new Map<string, Set<string>>();
  for (const { by, request, digest } of named) {
    if (by !== 'opening' || request === null || digest === null) continue;
    addTo(ofRequest, request, digest);
    addTo(ofDigest, digest, request);
  }
  const findings: Finding[] = [];
  for (const { stream, seq, by, request, digest } of named) {
    if (by !== 'receipt') continue;
    const opened = request === null ? undefined : ofRequest.get(request);
    const others = [...(digest === null ? [] : (ofDigest.get(digest) ?? []))].filter(
      (one) => one !== request,
    );
    const detail =
      opened !== undefined && [...opened].some((one) => one !== digest)
        ? 'the request was opened with another digest than the receipt has'
        : others.length > 0
          ? `another request was opened with the digest of the receipt: ${others.sort()[0]}`
          : null;
    if (detail !== null) findings.push({ stream, seq, check: 'receipt', ok: false, detail });
  }
  return findings;
}

/** Receipts of requests whose opening is not among the rows: whether they have the digest of the opening is not known. */
export function withoutOpening(named: readonly RequestDigest[]): readonly Finding[] {
  const opened = new Set(named.filter(({ by }) => by === 'opening').map(({ request }) => request));
  return named
    .filter(({ by, request }) => by === 'receipt' && !opened.has(request))
    .map(({ stream, seq, request }) => ({
      ...{ stream, seq, check: 'receipt', ok: null },
      detail: `the opening of the request is not here: ${request}`,
    }));
}

function addTo(map: Map<string, Set<string>>, name: string, value: string): void {
  const values = map.get(name) ?? new Set();
  map.set(name, values.add(value));
}
