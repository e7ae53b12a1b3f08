import { testClients } from '../frame/test-clients.ts';
import { pythonClients } from './clients.ts';

testClients(pythonClients);
