import { expect, it } from 'vitest';
import { type Client, FEATURES } from './client.ts';
import { judge, skippedRow } from './judge.ts';
import { renderTable } from './table.ts';

const CLIENT: Client = {
  name: 'driver',
  folder: new URL('.', import.meta.url),
  command: ['true'],
  present: ['true'],
  install: 'apt-get install driver',
  cannot: { cursor: 'it has none' },
};
const able = FEATURES.filter((feature) => feature !== 'cursor');
const line = (feature: string, ok = true, detail = '') => JSON.stringify({ feature, ok, detail });
const run = (lines: readonly string[], code: number | null = 0) => ({
  stdout: lines.join('\n'),
  stderr: '',
  code,
});
const well = async () => null;

it('has no note when everything is reported once and the server agrees', async () => {
  const { cells, notes } = await judge(CLIENT, run(able.map((feature) => line(feature))), well);
  expect(notes).toEqual([]);
  expect(cells).toMatchObject({ read: 'yes', cursor: 'can not', 'timed-out': 'yes' });
});

it('does not take the word of a program that the server contradicts', async () => {
  const look = async (feature: string) => (feature === 'write' ? 'no such row' : null);
  const { cells, notes } = await judge(CLIENT, run(able.map((feature) => line(feature))), look);
  expect(notes).toEqual(['write: no such row']);
  expect(cells.write).toBe('NO');
});

it('notes what is missing, failed, doubled, impossible, no report, and a bad end', async () => {
  const lines = able.filter((feature) => feature !== 'read' && feature !== 'write').map((f) => line(f));
  const more = [line('write', false, 'syntax error'), line('cancel'), line('cursor'), 'Hello'];
  const { notes } = await judge(CLIENT, run([...lines, ...more], null), well);
  expect(notes).toEqual([
    'not a report: Hello',
    'read: not reported: ',
    'write: syntax error',
    'cursor: reported, although it is declared as impossible',
    'cancel: reported more than once',
    'the program ended with its time over',
  ]);
});

it('prints client × feature, with what would install the missing', () => {
  const [head, row, , note] = renderTable([skippedRow(CLIENT)]).split('\n');
  expect(head).toMatch(/^client {2}read {5}write /);
  expect(row).toMatch(/^driver {2}(skipped +){11}skipped$/);
  expect(note).toBe('driver: not installed: apt-get install driver');
});
