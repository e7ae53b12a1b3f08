import type { TimeWindow } from './rule.ts';

const FORMATS = new Map<string, Intl.DateTimeFormat>();

type Clock = { readonly day: string; readonly minute: number };
/** The last minute that was asked about in each zone: a process asks about now. */
const CLOCKS = new Map<string, { readonly minute: number; readonly clock: Clock }>();
const MINUTE_US = 60_000_000;

/** Whether a moment, microseconds since 1970 UTC, lies in a window. Daylight saving time is the zone's own. */
export function isWithin({ days, hours, zone }: TimeWindow, at: number): boolean {
  const { day, minute } = clockIn(zone ?? 'UTC', at);
  if (days !== undefined && !days.some((name) => name === day)) return false;
  const span = hours === undefined ? null : hoursOf(hours);
  if (span === null) return true;
  const { from, to } = span;
  return from < to ? minute >= from && minute < to : minute >= from || minute < to;
}

/** Minutes of the day, 0 to 1440; null where the text is not `HH:MM-HH:MM`, or is no time at all. */
export function hoursOf(text: string): { readonly from: number; readonly to: number } | null {
  const match = /^(\d\d):(\d\d)-(\d\d):(\d\d)$/.exec(text);
  if (match === null) return null;
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = match.slice(1).map(Number);
  const [from, to] = [fromHour * 60 + fromMinute, toHour * 60 + toMinute];
  return fromMinute > 59 || toMinute > 59 || from >= 1440 || to > 1440 || from === to ? null : { from, to };
}

export function isZone(zone: string): boolean {
  try {
    formatIn(zone);
    return true;
  } catch {
    return false;
  }
}

function clockIn(zone: string, at: number): Clock {
  const minute = Math.floor(at / MINUTE_US);
  const last = CLOCKS.get(zone);
  if (last?.minute === minute) return last.clock;
  const clock = readClock(zone, at);
  CLOCKS.set(zone, { minute, clock });
  return clock;
}

function readClock(zone: string, at: number): Clock {
  const found = { day: '', minute: 0 };
  for (const { type, value } of formatIn(zone).formatToParts(at / 1000)) {
    if (type === 'weekday') found.day = value.toLowerCase();
    else if (type === 'hour') found.minute += Number(value) * 60;
    else if (type === 'minute') found.minute += Number(value);
  }
  return found;
}

/** Making one is slow. Throws `RangeError` for a zone that does not exist. */
function formatIn(zone: string): Intl.DateTimeFormat {
  let format = FORMATS.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      weekday: 'short',
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    });
    FORMATS.set(zone, format);
  }
  return format;
}
