import { testClients } from '../frame/test-clients.ts';
import { perlClients } from './clients.ts';

testClients(perlClients);
