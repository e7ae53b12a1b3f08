import { testMatrix } from './matrix.ts';

testMatrix('approved');
