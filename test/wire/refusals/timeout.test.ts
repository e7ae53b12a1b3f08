import { testMatrix } from './matrix.ts';

/** After the hold, a timeout is refused as a denial is: the ways that differ in position are enough. */
testMatrix(
  'timeout',
  { limits: { holdTimeoutMs: 150, holdTimeoutInTransactionMs: 150 } },
  ({ name }) => name === 'Query' || name === 'a statement of an earlier group',
);
