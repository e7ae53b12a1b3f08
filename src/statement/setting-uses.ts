import { evaluate } from './constants.ts';
import type { Context } from './context.ts';
import type { Details, SettingUse } from './details.ts';
import { bodyOf, list, type Tree, text } from './tree.ts';

const ROLE_SETTINGS: ReadonlySet<string> = new Set(['role', 'session_authorization']);

/** Notes what SET, RESET (also those of ALTER ROLE, ALTER SYSTEM, CREATE FUNCTION …) gives to which setting. */
export function noteSetting(context: Context, node: Tree): void {
  const kind = text(node, 'kind');
  const { details } = context.facts;
  if (kind === 'VAR_RESET_ALL') {
    details.addSetting({ name: 'all', value: null, action: 'reset' });
    return;
  }
  const name = text(node, 'name');
  if (kind === 'VAR_SET_MULTI') return noteMulti(context, name, node);
  const reset = kind === 'VAR_RESET' || kind === 'VAR_SET_DEFAULT';
  const args = list(node, 'args').map(settingValue);
  const value = kind === 'VAR_SET_VALUE' && !args.includes(null) ? args.join(', ') : null;
  noteSettingOf(details, name, value, reset ? 'reset' : 'set', context.definition);
}

/** SET's arguments are constants; a type may stand before one (INTERVAL). Null: not one. */
export function settingValue(arg: unknown): string | null {
  const constant = evaluate(bodyOf(arg, 'TypeCast')?.['arg'] ?? arg);
  return constant === null || constant.kind === 'null' ? null : String(constant.value);
}

/** SET TRANSACTION …: each option is a setting. */
function noteMulti(context: Context, name: string, node: Tree): void {
  for (const item of list(node, 'args')) {
    const option = bodyOf(item, 'DefElem');
    const value = option === null ? null : settingValue(option['arg']);
    const what = option === null ? name.toLowerCase() : text(option, 'defname');
    context.facts.details.addSetting({ name: what, value, action: 'set' });
  }
}

/** `written`: in a definition, so that nothing is set now. */
export function noteSettingOf(
  details: Details,
  name: string,
  value: string | null,
  action: SettingUse['action'],
  written: boolean,
): void {
  const key = name.toLowerCase();
  const shown = /conninfo|passphrase/.test(key) ? null : value;
  details.addSetting({ name: key, value: shown, action });
  if (!ROLE_SETTINGS.has(key) || action === 'show') return;
  if (shown !== null) details.add('roles', shown);
  if (!written) details.cross('role');
}
