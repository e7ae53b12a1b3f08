import type pg from 'pg';

/**
 * Runs a `COPY … TO STDOUT` and hands its bytes over as they come; they are valid during the call only. Resolves when
 * all have been; rejects with the server's error, with what `take` threw, or when the connection is lost.
 */
export function copyOut(client: pg.ClientBase, text: string, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: unknown = null;
    client.query({
      submit: (connection) => connection.query(text),
      handleCopyData: ({ chunk }: { readonly chunk: Buffer }) => {
        if (failure !== null) return;
        try {
          take(chunk);
        } catch (error) {
          // The rest still comes, and is dropped: the connection stays usable.
          failure = error;
        }
      },
      handleCommandComplete: () => {},
      handleError: (error: unknown) => reject(error),
      handleReadyForQuery: () => (failure === null ? resolve() : reject(failure)),
    } as pg.Submittable);
  });
}
