import { testMatrix } from './matrix.ts';

testMatrix('denied');
