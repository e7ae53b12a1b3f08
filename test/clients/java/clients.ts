import type { Client } from '../frame/client.ts';

const JAR = '/usr/share/java/postgresql.jar';

export const javaClients: readonly Client[] = [
  {
    name: 'pgjdbc',
    folder: new URL('.', import.meta.url),
    // The source is compiled in memory, which needs the compiler and not only a run-time.
    command: ['java', '-Dfile.encoding=UTF-8', '-cp', JAR, 'Main.java'],
    present: ['sh', '-c', `test -f ${JAR} && java --list-modules | grep -q '^jdk.compiler'`],
    install: 'apt-get install libpostgresql-jdbc-java default-jdk-headless',
    timeoutMs: 400_000,
  },
];
