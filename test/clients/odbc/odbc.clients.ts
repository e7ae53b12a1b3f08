import { testClients } from '../frame/test-clients.ts';
import { odbcClients } from './clients.ts';

testClients(odbcClients);
