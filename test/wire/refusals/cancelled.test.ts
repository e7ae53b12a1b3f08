import { testMatrix } from './matrix.ts';

/** After the hold, a withdrawal is refused as a denial is: the ways that differ in position are enough. */
testMatrix('cancelled', {}, ({ name }) => name === 'Query' || name === 'Parse, Bind, Execute without names');
