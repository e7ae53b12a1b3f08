/** Longest copy that is cheaper than another write. */
const JOIN_BYTES = 16 * 1024;

/**
 * The same bytes in fewer pieces: neighbours in one buffer become one view, short pieces are copied together. One
 * write is worth more than a small copy.
 */
export function joined(pieces: readonly Buffer[]): readonly Buffer[] {
  const first = pieces[0];
  if (first === undefined || pieces.length === 1) return pieces;
  const views: Buffer[] = [];
  let last = first;
  for (let i = 1; i < pieces.length; i++) {
    const piece = pieces[i];
    if (piece === undefined) continue;
    if (piece.buffer === last.buffer && piece.byteOffset === last.byteOffset + last.length)
      last = Buffer.from(last.buffer, last.byteOffset, last.length + piece.length);
    else {
      views.push(last);
      last = piece;
    }
  }
  views.push(last);
  if (views.length === 1) return views;
  const total = views.reduce((sum, { length }) => sum + length, 0);
  return total <= JOIN_BYTES ? [Buffer.concat(views, total)] : views;
}
