/** What runs on the shipping thread: a `Shipper`, told what to do by the thread that writes the journal. */
import { sign } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import type { AuditLogger } from '../logger.ts';
import { RemoteJournal } from './remote-journal.ts';
import { Shipper } from './shipper.ts';
import { type FromShipper, flatten, type ShippingTask, type ToShipper } from './shipping-messages.ts';

const port = parentPort;
if (port === null) throw new Error('shipper-thread is the program of a thread: nothing else starts it');
const post = (message: FromShipper): void => port.postMessage(message);
const task = (workerData as { readonly task: ShippingTask }).task;
const journal = new RemoteJournal(port, task.state);

const logAt = (level: 'info' | 'warn' | 'error') => (facts: object, message: string) => {
  const { err, ...others } = facts as { readonly err?: unknown };
  post({ kind: 'log', level, facts: others, failure: err === undefined ? null : flatten(err), message });
};
const log: AuditLogger = { info: logAt('info'), warn: logAt('warn'), error: logAt('error') };

const shipper = new Shipper({
  journal,
  stream: task.stream,
  saltSecret: Buffer.from(task.saltSecret),
  key: { kid: task.kid, sign: (bytes) => sign(null, bytes, task.privateKey) },
  url: task.url,
  schema: task.schema,
  log,
  before: task.before,
  report: (status, bytes) => post({ kind: 'status', status, bytes }),
});

port.on('message', (message: ToShipper) => {
  switch (message.kind) {
    case 'state':
      journal.receive(message);
      shipper.written();
      break;
    case 'need':
      journal.receive(message);
      shipper.need(message.seq);
      break;
    case 'reply':
      journal.receive(message);
      break;
    case 'open':
      void shipper.openStatements().then((open) => post({ kind: 'open', open }));
      break;
    case 'stop':
      void shipper.stop().finally(() => post({ kind: 'stopped' }));
      break;
  }
});
shipper.start();
