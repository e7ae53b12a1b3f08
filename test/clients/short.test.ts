import { testClients } from './frame/test-clients.ts';
import { basicNodeClients } from './node/clients.ts';
import { psqlClients } from './psql/clients.ts';

/** The short form of `npm run test:clients`: what is there without installing anything. */
testClients([...psqlClients, ...basicNodeClients]);
