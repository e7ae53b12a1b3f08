import { testClients } from '../frame/test-clients.ts';
import { rubyClients } from './clients.ts';

testClients(rubyClients);
