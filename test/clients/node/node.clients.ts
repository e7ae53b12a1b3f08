import { testClients } from '../frame/test-clients.ts';
import { nodeClients } from './clients.ts';

testClients(nodeClients);
