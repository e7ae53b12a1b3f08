import { testClients } from '../frame/test-clients.ts';
import { phpClients } from './clients.ts';

testClients(phpClients);
