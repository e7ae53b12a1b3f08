import { testClients } from '../frame/test-clients.ts';
import { javaClients } from './clients.ts';

testClients(javaClients);
