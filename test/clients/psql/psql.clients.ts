import { testClients } from '../frame/test-clients.ts';
import { psqlClients } from './clients.ts';

testClients(psqlClients);
