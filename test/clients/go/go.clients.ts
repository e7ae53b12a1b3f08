import { testClients } from '../frame/test-clients.ts';
import { goClients } from './clients.ts';

testClients(goClients);
