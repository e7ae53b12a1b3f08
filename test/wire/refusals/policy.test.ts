import { testMatrix } from './matrix.ts';

testMatrix('policy');
