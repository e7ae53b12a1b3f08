import { FLOOR_HOLD } from '../policy/decide.ts';
import type { Path } from './document.ts';
import type { Add } from './name-check.ts';
import type { RuleShape } from './rule-schema.ts';

/** What only some decisions can have, and what no rule may allow. */
export function checkForm(rule: RuleShape, path: Path, add: Add): void {
  const wrong = (key: Path, problem: string) => add([...path, ...key], problem, 'config_invalid_value');
  const { decision, match } = rule;
  if (decision !== 'hold')
    for (const key of HOLD_ONLY)
      if (rule[key] !== undefined) wrong([key], `only a rule that holds has ${key}`);
  if (decision === 'deny' && rule.limits !== undefined)
    wrong(['limits'], 'a rule that denies lets nothing through that could be limited');
  for (const key of ['rows', 'bytes'] as const) {
    if (decision === 'allow' && match[key]?.above !== undefined)
      wrong(
        ['match', key, 'above'],
        'what is above a size, or of unknown size, cannot be allowed; expected atMost',
      );
    if (decision !== 'allow' && match[key]?.atMost !== undefined)
      wrong(
        ['match', key, 'atMost'],
        'expected above: what is larger, or of unknown size, would get through here',
      );
  }
  if (decision !== 'allow') return;
  match.class?.forEach((name, at) => {
    if (FLOOR_HOLD.has(name)) wrong(['match', 'class', at], `no rule can allow ${name}: it is held at least`);
  });
  if (match.command !== undefined && match.class === undefined)
    wrong(['match', 'command'], 'a command tag does not say what a statement does; expected class beside it');
}

const HOLD_ONLY = [
  'approvers',
  'quorum',
  'assurance',
  'expiry',
  'holdTimeout',
  'channel',
  'onCall',
  'maxPerMinute',
  'escalate',
] as const;
